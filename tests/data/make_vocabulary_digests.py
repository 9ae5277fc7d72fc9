"""Writes vocabulary_digests.json: digests of the token ids that llama.cpp gives.

    PYTHONPATH=.:tests:tools python tests/data/make_vocabulary_digests.py

in an environment with llama-cpp-python 0.3.36.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import llama_cpp
from get_test_vocabularies import get_test_vocabularies
from vocabulary_digests import digest_of_texts, digests, vocabulary_texts

from oxillama_web.gguf import GGUFFile

TARGET = Path(__file__).with_name("vocabulary_digests.json")


def main() -> None:
    golden = {path.stem: make(path) for path in sorted(get_test_vocabularies().glob("*.gguf"))}
    TARGET.write_text(json.dumps(golden, indent=0) + "\n")


def make(path: Path) -> dict[str, Any]:
    samples = vocabulary_texts(GGUFFile(path.read_bytes()).metadata)
    llama = llama_cpp.Llama(str(path), vocab_only=True, verbose=False)

    def encode(text: str, special: bool) -> list[int]:
        return llama.tokenize(text.encode(), add_bos=special, special=special)

    return {"texts": digest_of_texts(samples), "ids": digests(samples, encode)}


if __name__ == "__main__":
    main()
