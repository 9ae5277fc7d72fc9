"""Vocabularies of published models give the ids of llama.cpp, on texts of all kinds.

tests/data/make_vocabulary_digests.py made the golden digests.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest
from vocabulary_digests import GROUP, digest_of_texts, digests, vocabulary_texts

from oxillama_web.gguf import GGUFFile
from oxillama_web.tokenizer import load_gguf_vocabulary

sys.path.insert(0, str(Path(__file__).parent.parent / "tools"))
from get_test_vocabularies import get_test_vocabularies

GOLDEN = json.loads((Path(__file__).parent / "data" / "vocabulary_digests.json").read_text())


@pytest.mark.slow
@pytest.mark.parametrize("name", GOLDEN)
def test_same_ids_as_llama_cpp(name: str) -> None:
    samples, differ = compare(name)
    assert not differ, [samples[n * GROUP : (n + 1) * GROUP] for n in differ]


def compare(name: str) -> tuple[list[str], list[int]]:
    """The texts, and the numbers of the groups of them in which any id differs."""
    metadata = GGUFFile((get_test_vocabularies() / f"{name}.gguf").read_bytes()).metadata
    samples = vocabulary_texts(metadata)
    assert digest_of_texts(samples) == GOLDEN[name]["texts"], "the texts are others: make it anew"
    tokenizer = load_gguf_vocabulary(metadata)

    def encode(text: str, special: bool) -> list[int]:
        whole = None if special else False
        return tokenizer.encode(text, add_bos=whole, add_eos=whole, parse_special=special)

    pairs = zip(digests(samples, encode), GOLDEN[name]["ids"], strict=True)
    return samples, [n for n, (ours, theirs) in enumerate(pairs) if ours != theirs]
