"""Writes vocabulary_digests.json: digests of the token ids that llama.cpp gives.

    PYTHONPATH=.:tests:tools python tests/data/make_vocabulary_digests.py

in an environment with gguf and llama-cpp-python 0.3.36. `vocabularies`: published ones.
`pre_tokenizers`: one of them with each name of tokenizer.ggml.pre.
"""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import Any

import llama_cpp
from get_test_vocabularies import get_test_vocabularies
from gguf_vocabularies import write_vocabulary
from vocabulary_digests import (
    N_SHORT,
    N_TEXTS,
    base_vocabulary,
    digest_of_texts,
    digests,
    vocabulary_texts,
    with_pre_tokenizer,
)

from oxillama_web.gguf.reader import GGUFFile
from oxillama_web.tokenizer import gguf_pre_tokenizers

TARGET = Path(__file__).with_name("vocabulary_digests.json")


# llama.cpp's regular expressions know no classes of letters: it approximates these, and the package
# has the model's own patterns (test_tokenizer_regex.py)
APPROXIMATED = (
    "afmoe cohere2moe gpt-4o granite-embed-multi-97m kanana2 kimi-k2 llama4 minimax-m2 talkie "
    "tekken tiny_aya youtu"
).split()


def main() -> None:
    paths = sorted(get_test_vocabularies().glob("*.gguf"))
    names = [name for _, names in gguf_pre_tokenizers._PRE_TOKENIZERS for name in names.split()]
    golden = {
        "vocabularies": {path.stem: make(path, N_TEXTS) for path in paths},
        "pre_tokenizers": make_all(sorted({*names} - {*APPROXIMATED})),
    }
    TARGET.write_text(json.dumps(golden, indent=0) + "\n")


def make_all(names: list[str]) -> dict[str, Any]:
    metadata = base_vocabulary()
    golden = {}
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "vocabulary.gguf"
        for name in names:
            write_vocabulary(path, with_pre_tokenizer(metadata, name))
            golden[name] = make(path, N_SHORT)
    return golden


def make(path: Path, n_texts: int) -> dict[str, Any]:
    samples = vocabulary_texts(GGUFFile(path.read_bytes()).metadata, n_texts)
    llama = llama_cpp.Llama(str(path), vocab_only=True, verbose=False)

    def encode(text: str, special: bool) -> list[int]:
        return llama.tokenize(text.encode(), add_bos=special, special=special)

    return {"texts": digest_of_texts(samples), "ids": digests(samples, encode)}


if __name__ == "__main__":
    main()
