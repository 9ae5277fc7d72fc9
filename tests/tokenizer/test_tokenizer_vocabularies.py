"""Vocabularies give the ids of llama.cpp, on texts of all kinds.

tests/data/make_vocabulary_digests.py made the golden digests.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import pytest
from paths import DATA
from vocabulary_digests import (
    GROUP,
    N_SHORT,
    N_TEXTS,
    base_vocabulary,
    digest_of_texts,
    digests,
    get_test_vocabularies,
    vocabulary_texts,
    with_pre_tokenizer,
)

from oxillama_web.gguf.reader import GGUFFile
from oxillama_web.tokenizer import load_gguf_vocabulary

GOLDEN = json.loads((DATA / "vocabulary_digests.json").read_text())


@pytest.mark.slow
@pytest.mark.parametrize("name", GOLDEN["vocabularies"])
def test_published_vocabularies(name: str) -> None:
    samples, differ = compare(name)
    assert not differ, [samples[n * GROUP : (n + 1) * GROUP] for n in differ]


@pytest.fixture(scope="module")
def base() -> dict[str, Any]:
    return base_vocabulary()


@pytest.mark.slow
@pytest.mark.parametrize("name", GOLDEN["pre_tokenizers"])
def test_pre_tokenizers(name: str, base: dict[str, Any]) -> None:
    samples, differ = compare_pre_tokenizer(name, base)
    assert not differ, [samples[n * GROUP : (n + 1) * GROUP] for n in differ]


def compare(name: str) -> tuple[list[str], list[int]]:
    """A published vocabulary's texts, and the numbers of their groups in which any id differs."""
    metadata = GGUFFile((get_test_vocabularies() / f"{name}.gguf").read_bytes()).metadata
    return compare_with(GOLDEN["vocabularies"][name], metadata, N_TEXTS)


def compare_pre_tokenizer(name: str, base: dict[str, Any]) -> tuple[list[str], list[int]]:
    golden = GOLDEN["pre_tokenizers"][name]
    return compare_with(golden, with_pre_tokenizer(base, name), N_SHORT)


def compare_with(
    golden: dict[str, Any], metadata: Mapping[str, Any], n_texts: int
) -> tuple[list[str], list[int]]:
    samples = vocabulary_texts(metadata, n_texts)
    assert digest_of_texts(samples) == golden["texts"], "the texts are others: make it anew"
    tokenizer = load_gguf_vocabulary(metadata)

    def encode(text: str, special: bool) -> list[int]:
        whole = None if special else False
        return tokenizer.encode(text, add_bos=whole, add_eos=whole, parse_special=special)

    pairs = zip(digests(samples, encode), golden["ids"], strict=True)
    return samples, [n for n, (ours, theirs) in enumerate(pairs) if ours != theirs]
