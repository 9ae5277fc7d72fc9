"""Writes small GGUF models with random weights, with the gguf package: an independent writer.

The metadata keys and tensor names are those that llama.cpp writes, so it loads these files too.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import gguf
import numpy as np
from gguf import GGMLQuantizationType
from gguf_vocabularies import (
    WORD_PIECES,
    add_byte_level_vocabulary,
    add_sentencepiece_vocabulary,
    add_word_piece_vocabulary,
)

from oxillama_web.gguf.dequantize import dequantize
from oxillama_web.gguf.types import FORMATS, GGMLType

FORMAT_BY_NAME: dict[str, GGMLType] = {known.name: known for known in FORMATS.values()}

# where the float16 scales of a block are, and what to put there: a middle value of 0 results
_SCALES: dict[str, dict[int, float]] = {
    "Q2_K": {80: 1.0, 82: 1.5},
    "Q3_K": {108: 1.0},
    "Q4_K": {0: 1.0, 2: 7.5},
    "Q5_K": {0: 1.0, 2: 15.5},
    "Q6_K": {208: 1.0},
    "Q1_0": {0: 1.0},
    "Q2_0": {0: 1.0},
    **{f"IQ{kind}": {0: 1.0} for kind in ("1_S", "2_XXS", "2_XS", "2_S", "3_XXS", "3_S")},
    **{f"IQ4_{kind}": {0: 1.0} for kind in ("NL", "XS")},
}

# the positive floats of NVFP4's scales, by their byte
_E4M3 = np.array(
    [(c & 7) / 512 if c < 8 else (8 + (c & 7)) * 2.0 ** ((c >> 3) - 10) for c in range(127)]
)


def write_tiny_llama(
    path: Path,
    *,
    n_layers: int = 2,
    width: int = 64,
    n_heads: int = 4,
    n_kv_heads: int = 2,
    ffn: int = 96,
    vocab: int = 320,
    format: str = "Q8_0",
    formats: Mapping[str, str] | None = None,
    tied: bool = False,
    context_length: int = 256,
    rope_base: float = 10000.0,
    chat_template: str | None = None,
    with_vocabulary: bool = True,
    rope_divisors: bool = False,
    seed: int = 0,
) -> None:
    """A llama model: byte-level BPE vocabulary of at least 259 entries, no BOS added.

    Args:
        path: the file to write.
        n_layers, width, n_heads, n_kv_heads, ffn, vocab, context_length, rope_base: its sizes.
        format: the name of the format of every matrix; norms are F32.
        formats: other formats by the end of a tensor's name: {"ffn_down.weight": "Q4_K"}.
        tied: the embedding is the output head too.
        chat_template: Jinja text, or none.
        with_vocabulary: whether the file holds its tokenizer.
        rope_divisors: Llama 3's tensor of divisors for the rotary frequencies, behind all others.
        seed: of the random weights.
    """
    model = _Model(path, "llama", format, formats, seed)
    head_dim = width // n_heads
    _add_sizes(model.writer, n_layers, width, n_heads, n_kv_heads, ffn, context_length)
    model.writer.add_rope_dimension_count(head_dim)
    model.writer.add_rope_freq_base(rope_base)
    model.writer.add_layer_norm_rms_eps(1e-5)
    model.writer.add_vocab_size(vocab)
    if with_vocabulary:
        add_byte_level_vocabulary(model.writer, vocab)
    if chat_template is not None:
        model.writer.add_chat_template(chat_template)
    model.matrix("token_embd.weight", width, vocab)
    if not tied:
        model.matrix("output.weight", width, vocab)
    for layer in range(n_layers):
        block = f"blk.{layer}."
        model.norm(block + "attn_norm.weight", width)
        model.attention(block, width, n_heads * head_dim, n_kv_heads * head_dim)
        model.norm(block + "ffn_norm.weight", width)
        model.feed_forward(block, width, ffn)
    model.norm("output_norm.weight", width)
    if rope_divisors:
        model.norm("rope_freqs.weight", head_dim // 2)
    model.finish()


def write_tiny_gemma3(
    path: Path,
    *,
    n_layers: int = 7,
    width: int = 64,
    n_heads: int = 2,
    n_kv_heads: int = 1,
    head_dim: int = 32,
    ffn: int = 96,
    vocab: int = 384,
    format: str = "Q8_0",
    formats: Mapping[str, str] | None = None,
    context_length: int = 256,
    sliding_window: int = 16,
    chat_template: str | None = None,
    with_vocabulary: bool = True,
    seed: int = 0,
) -> None:
    """A gemma3 model: SentencePiece vocabulary of at least 323 entries, BOS added, tied embeddings.

    Every sixth layer looks at the whole context, the others at `sliding_window` tokens. The other
    arguments are those of write_tiny_llama.
    """
    model = _Model(path, "gemma3", format, formats, seed)
    _add_sizes(model.writer, n_layers, width, n_heads, n_kv_heads, ffn, context_length)
    model.writer.add_key_length(head_dim)
    model.writer.add_value_length(head_dim)
    model.writer.add_rope_freq_base(1e6)
    model.writer.add_layer_norm_rms_eps(1e-6)
    model.writer.add_sliding_window(sliding_window)
    if with_vocabulary:
        add_sentencepiece_vocabulary(model.writer, vocab)
    if chat_template is not None:
        model.writer.add_chat_template(chat_template)
    model.matrix("token_embd.weight", width, vocab)
    for layer in range(n_layers):
        block = f"blk.{layer}."
        model.norm(block + "attn_norm.weight", width)
        model.norm(block + "attn_q_norm.weight", head_dim)
        model.norm(block + "attn_k_norm.weight", head_dim)
        model.attention(block, width, n_heads * head_dim, n_kv_heads * head_dim)
        model.norm(block + "post_attention_norm.weight", width)
        model.norm(block + "ffn_norm.weight", width)
        model.feed_forward(block, width, ffn)
        model.norm(block + "post_ffw_norm.weight", width)
    model.norm("output_norm.weight", width)
    model.finish()


def write_tiny_experts(
    path: Path,
    *,
    arch: str = "llama",
    n_layers: int = 2,
    width: int = 64,
    n_heads: int = 4,
    n_kv_heads: int = 2,
    ffn: int = 96,
    shared_ffn: int = 160,
    n_experts: int = 6,
    n_used: int = 2,
    vocab: int = 320,
    format: str = "Q8_0",
    formats: Mapping[str, str] | None = None,
    with_vocabulary: bool = True,
    seed: int = 0,
) -> None:
    """A mixture of experts: Mixtral (arch "llama") or Qwen ("qwen2moe", "qwen3moe").

    Args:
        ffn, shared_ffn: of one expert, and of the one of Qwen 2 that every token uses.
        n_experts, n_used: experts of a layer, and those that each token uses.

    The other arguments are those of write_tiny_llama.
    """
    model = _Model(path, arch, format, formats, seed)
    head_dim = width // n_heads
    _add_sizes(model.writer, n_layers, width, n_heads, n_kv_heads, ffn, 256)
    model.writer.add_key_length(head_dim)
    model.writer.add_value_length(head_dim)
    model.writer.add_rope_dimension_count(head_dim)
    model.writer.add_rope_freq_base(10000.0)
    model.writer.add_layer_norm_rms_eps(1e-5)
    model.writer.add_expert_count(n_experts)
    model.writer.add_expert_used_count(n_used)
    model.writer.add_expert_feed_forward_length(ffn)
    if arch == "qwen2moe":
        model.writer.add_expert_shared_feed_forward_length(shared_ffn)
    model.writer.add_vocab_size(vocab)
    if with_vocabulary:
        add_byte_level_vocabulary(model.writer, vocab)
    model.matrix("token_embd.weight", width, vocab)
    model.matrix("output.weight", width, vocab)
    for layer in range(n_layers):
        block = f"blk.{layer}."
        model.norm(block + "attn_norm.weight", width)
        model.attention(block, width, n_heads * head_dim, n_kv_heads * head_dim)
        if arch == "qwen2moe":
            for name, size in (("q", n_heads), ("k", n_kv_heads), ("v", n_kv_heads)):
                model.plain(f"{block}attn_{name}.bias", size * head_dim)
            model.shared_expert(block, width, shared_ffn)
        if arch == "qwen3moe":
            model.norm(block + "attn_q_norm.weight", head_dim)
            model.norm(block + "attn_k_norm.weight", head_dim)
        model.norm(block + "ffn_norm.weight", width)
        model.experts(block, width, ffn, n_experts)
    model.norm("output_norm.weight", width)
    model.finish()


def write_tiny_bert(
    path: Path,
    *,
    arch: str = "bert",
    n_layers: int = 2,
    width: int = 64,
    n_heads: int = 4,
    ffn: int = 96,
    format: str = "Q8_0",
    formats: Mapping[str, str] | None = None,
    context_length: int = 64,
    pooling_type: int | None = None,
    with_vocabulary: bool = True,
    seed: int = 0,
) -> None:
    """An encoder: BERT, or Nomic's ("nomic-bert"). Its vocabulary are the pieces of WORD_PIECES.

    Args:
        pooling_type: the file's wish: 1 mean, 2 cls, 3 last, 4 rank; None: it has none.

    The other arguments are those of write_tiny_llama.
    """
    model = _Model(path, arch, format, formats, seed)
    vocab = len(WORD_PIECES)
    writer = model.writer
    _add_sizes(writer, n_layers, width, n_heads, n_heads, ffn, context_length)
    writer.add_layer_norm_eps(1e-12)
    writer.add_causal_attention(False)
    writer.add_token_type_count(2)
    if pooling_type is not None:
        writer.add_uint32(f"{arch}.pooling_type", pooling_type)
    if arch == "nomic-bert":
        writer.add_rope_freq_base(1000.0)
    if with_vocabulary:
        add_word_piece_vocabulary(writer)
    model.matrix("token_embd.weight", width, vocab)
    model.plain("token_types.weight", 2, width)
    if arch == "bert":
        model.plain("position_embd.weight", context_length, width)
    model.layer_norm("token_embd_norm", width)
    for layer in range(n_layers):
        block = f"blk.{layer}."
        if arch == "bert":
            model.attention(block, width, width, width)
            for name in ("q", "k", "v", "output"):
                model.plain(f"{block}attn_{name}.bias", width)
            model.matrix(block + "ffn_up.weight", width, ffn)
            model.matrix(block + "ffn_down.weight", ffn, width)
            model.plain(block + "ffn_up.bias", ffn)
            model.plain(block + "ffn_down.bias", width)
        else:
            model.matrix(block + "attn_qkv.weight", width, 3 * width)
            model.matrix(block + "attn_output.weight", width, width)
            model.feed_forward(block, width, ffn)
        model.layer_norm(block + "attn_output_norm", width)
        model.layer_norm(block + "layer_output_norm", width)
    model.finish()


def quantized(values: np.ndarray, format: str, rng: np.random.Generator) -> np.ndarray:
    """float32 [rows, n] in a format, as uint8 [rows, bytes].

    Where the gguf package cannot quantize, the result is random blocks of the same standard
    deviation, which have nothing else to do with `values`.
    """
    try:
        result = gguf.quants.quantize(values, GGMLQuantizationType[format])
    except NotImplementedError:
        known = FORMAT_BY_NAME[format]
        n_blocks, rest = divmod(values.shape[-1], known.block_size)
        if rest:
            raise ValueError(f"rows of {values.shape[-1]} cannot be {format}") from None
        blocks = random_blocks(rng, format, len(values) * n_blocks, float(np.std(values)))
        return blocks.reshape(len(values), -1)
    return np.ascontiguousarray(result).view(np.uint8)


def random_blocks(
    rng: np.random.Generator, format: str, n_blocks: int, std: float = 1.0
) -> np.ndarray:
    """Random blocks, uint8 [n_blocks, block_bytes], whose values have about this deviation."""
    known = FORMAT_BY_NAME[format]
    blocks = rng.integers(0, 256, (n_blocks, known.block_bytes), dtype=np.uint8)
    _set_scales(blocks, format, np.ones(n_blocks))
    values = dequantize(blocks.tobytes(), known, n_blocks * known.block_size)
    factor = std / np.sqrt(np.mean(np.square(values)))
    _set_scales(blocks, format, factor * rng.uniform(0.7, 1.3, n_blocks))
    return blocks


def split_model(path: Path, folder: Path, n_parts: int, *, first_empty: bool = False) -> list[Path]:
    """The files that llama.cpp's gguf-split would make of a model, by the gguf package's reader."""
    reader = gguf.GGUFReader(path)
    n_filled = n_parts - first_empty
    size = -(-len(reader.tensors) // n_filled)
    shares = [reader.tensors[at * size : (at + 1) * size] for at in range(n_filled)]
    if first_empty:
        shares.insert(0, [])
    paths = []
    for index, tensors in enumerate(shares):
        paths.append(folder / f"{path.stem}-{index + 1:05}-of-{n_parts:05}.gguf")
        writer = gguf.GGUFWriter(paths[-1], reader.fields["general.architecture"].contents())
        if index == 0:
            for name, field in reader.fields.items():
                if not name.startswith("GGUF.") and name != "general.architecture":
                    kinds = field.types
                    writer.add_key_value(
                        name, field.contents(), kinds[0], kinds[1] if len(kinds) > 1 else None
                    )
        writer.add_uint16("split.no", index)
        writer.add_uint16("split.count", n_parts)
        writer.add_int32("split.tensors.count", len(reader.tensors))
        for tensor in tensors:
            writer.add_tensor(tensor.name, tensor.data, raw_dtype=tensor.tensor_type)
        writer.write_header_to_file()
        writer.write_kv_data_to_file()
        writer.write_tensors_to_file()
        writer.close()
    return paths


class _Model:
    """Tensors of random weights, on their way into a file."""

    def __init__(
        self, path: Path, arch: str, format: str, formats: Mapping[str, str] | None, seed: int
    ) -> None:
        self.writer = gguf.GGUFWriter(path, arch)
        self.writer.add_name(f"tiny {arch}")
        self.writer.add_quantization_version(gguf.GGML_QUANT_VERSION)
        self._format = format
        self._formats = formats or {}
        self._rng = np.random.default_rng(seed)

    def matrix(self, name: str, n_in: int, n_out: int, n_experts: int = 0) -> None:
        """One matrix, or those of experts in one tensor of three dimensions."""
        n_rows = n_out * max(n_experts, 1)
        format = next(
            (other for end, other in self._formats.items() if name.endswith(end)), self._format
        )
        # outputs of matrices stay of the size of their inputs
        values = self._rng.standard_normal((n_rows, n_in)).astype(np.float32) / np.sqrt(
            1 if name == "token_embd.weight" else n_in, dtype=np.float32
        )
        data = quantized(values, format, self._rng)
        if n_experts:
            data = data.reshape(n_experts, n_out, -1)
        self.writer.add_tensor(name, data, raw_dtype=GGMLQuantizationType[format])

    def experts(self, block: str, width: int, ffn: int, n_experts: int) -> None:
        """The experts of a layer, and what chooses among them."""
        self.plain(block + "ffn_gate_inp.weight", n_experts, width)
        self.matrix(block + "ffn_gate_exps.weight", width, ffn, n_experts)
        self.matrix(block + "ffn_up_exps.weight", width, ffn, n_experts)
        self.matrix(block + "ffn_down_exps.weight", ffn, width, n_experts)

    def shared_expert(self, block: str, width: int, ffn: int) -> None:
        """One that every token uses, with a gate of one value."""
        self.plain(block + "ffn_gate_inp_shexp.weight", width)
        self.matrix(block + "ffn_gate_shexp.weight", width, ffn)
        self.matrix(block + "ffn_up_shexp.weight", width, ffn)
        self.matrix(block + "ffn_down_shexp.weight", ffn, width)

    def norm(self, name: str, size: int) -> None:
        values = 1 + 0.1 * self._rng.standard_normal(size)
        self.writer.add_tensor(name, values.astype(np.float32))

    def plain(self, name: str, *shape: int) -> None:
        """F32 whatever the format: what quantizing tools leave alone."""
        values = 0.3 * self._rng.standard_normal(shape)
        self.writer.add_tensor(name, values.astype(np.float32))

    def layer_norm(self, name: str, size: int) -> None:
        self.norm(name + ".weight", size)
        self.plain(name + ".bias", size)

    def attention(self, block: str, width: int, n_query: int, n_key: int) -> None:
        self.matrix(block + "attn_q.weight", width, n_query)
        self.matrix(block + "attn_k.weight", width, n_key)
        self.matrix(block + "attn_v.weight", width, n_key)
        self.matrix(block + "attn_output.weight", n_query, width)

    def feed_forward(self, block: str, width: int, ffn: int) -> None:
        self.matrix(block + "ffn_gate.weight", width, ffn)
        self.matrix(block + "ffn_up.weight", width, ffn)
        self.matrix(block + "ffn_down.weight", ffn, width)

    def finish(self) -> None:
        self.writer.write_header_to_file()
        self.writer.write_kv_data_to_file()
        self.writer.write_tensors_to_file()
        self.writer.close()


def _add_sizes(
    writer: gguf.GGUFWriter,
    n_layers: int,
    width: int,
    n_heads: int,
    n_kv_heads: int,
    ffn: int,
    context_length: int,
) -> None:
    writer.add_block_count(n_layers)
    writer.add_context_length(context_length)
    writer.add_embedding_length(width)
    writer.add_feed_forward_length(ffn)
    writer.add_head_count(n_heads)
    writer.add_head_count_kv(n_kv_heads)


def _set_scales(blocks: np.ndarray, format: str, factors: np.ndarray) -> None:
    if format == "NVFP4":
        blocks[:, :4] = np.abs(_E4M3 - factors[:, None]).argmin(axis=1)[:, None]
        return
    if format == "IQ1_M":
        # the scale's four nibbles are the highest of the four words
        bits = factors.astype("<f2").view("<u2")
        for word in range(4):
            low = blocks[:, 49 + 2 * word] & 15
            blocks[:, 49 + 2 * word] = low | (bits >> 4 * word & 15).astype(np.uint8) << 4
        return
    for offset, value in _SCALES[format].items():
        scale = (factors * value).astype("<f2")
        blocks[:, offset : offset + 2] = scale.view(np.uint8).reshape(-1, 2)
