"""Writes unigram.json: a small Unigram vocabulary, and what llama.cpp makes of texts with it.

    PYTHONPATH=.:tests/helpers python tests/golden/make_unigram.py

in an environment with gguf, llama-cpp-python 0.3.36, sentencepiece 0.2.3 and protobuf.
SentencePiece trains the vocabulary with the normalization of T5 and XLM-RoBERTa, nmt_nfkc.
`metadata` are the GGUF file's; its precompiled charsmap is compressed (xz) in base 64. `variants`:
with more metadata, token ids of each text, as the vocabulary wants them and without special tokens.
"""

from __future__ import annotations

import io
import json
import lzma
import tempfile
from base64 import b64encode
from pathlib import Path
from typing import Any

import llama_cpp
import sentencepiece
from gguf_vocabularies import write_vocabulary
from sentencepiece.sentencepiece_model_pb2 import ModelProto
from tokenizer_texts import texts

from oxillama_web.tokenizer.gguf_tables import PREFIX

HERE = Path(__file__).parent
SPECIAL = ["</s>", "<unk>", "<extra_id_0>", "x½", "<pad>"]
FIRST_TEXTS = ["漢x 漢 x漢字漢x", "½ x½ x½½ ½x<extra_id_0>½", "", " ", "  x  ", "ﬁ\u0301 Å ㍿"]
N_TEXTS = 250
UNUSED = 5  # as tokenizer.ggml.token_type numbers it
VARIANTS: list[dict[str, Any]] = [
    {},
    {"add_space_prefix": True, "remove_extra_whitespaces": True},
    {"add_space_prefix": True, "remove_extra_whitespaces": False},
]


def main() -> None:
    metadata = train()
    samples = [*FIRST_TEXTS, *texts(N_TEXTS, SPECIAL)]
    variants = [{"metadata": more, **encode(metadata | more, samples)} for more in VARIANTS]
    charsmap = lzma.compress(metadata["precompiled_charsmap"])
    metadata["precompiled_charsmap"] = b64encode(charsmap).decode()
    golden = {"metadata": metadata, "texts": samples, "variants": variants}
    text = json.dumps(golden, separators=(",", ":"), ensure_ascii=False)
    (HERE / "unigram.json").write_text(text + "\n", "utf-8")


def train() -> dict[str, Any]:
    """The vocabulary as a GGUF file's metadata, without what the keys start with."""
    lines = [*(HERE.parent.parent / "LICENSE").read_text().splitlines(), *texts(3000, SPECIAL)]
    model = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter([line for line in lines if max(line, default="") < "\u0250"]),
        model_writer=model,
        vocab_size=600,
        model_type="unigram",
        normalization_rule_name="nmt_nfkc",
        user_defined_symbols=["<extra_id_0>", "x½"],
        pad_id=0,
        eos_id=1,
        unk_id=2,
        bos_id=-1,
        minloglevel=2,
    )
    trained = ModelProto.FromString(model.getvalue())
    pieces = [(piece.piece, float(piece.score), int(piece.type)) for piece in trained.pieces]
    # what no token covers scores less than any normal token, yet more than this one
    pieces.append(("漢x", -40.0, UNUSED))
    tokens, scores, types = zip(*pieces, strict=True)
    return {
        "model": "t5",
        "tokens": tokens,
        "scores": scores,
        "token_type": types,
        "eos_token_id": 1,
        "unknown_token_id": 2,
        "padding_token_id": 0,
        "precompiled_charsmap": trained.normalizer_spec.precompiled_charsmap,
    }


def encode(metadata: dict[str, Any], samples: list[str]) -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "vocabulary.gguf"
        write_vocabulary(path, {PREFIX + key: value for key, value in metadata.items()})
        llama = llama_cpp.Llama(str(path), vocab_only=True, verbose=False)
    data = [text.encode() for text in samples]
    return {
        "ids": [llama.tokenize(text, add_bos=True, special=True) for text in data],
        "plain_ids": [llama.tokenize(text, add_bos=False, special=False) for text in data],
    }


if __name__ == "__main__":
    main()
