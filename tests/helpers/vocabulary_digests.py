"""Digests of token ids: many texts with many vocabularies in a small file."""

from __future__ import annotations

import hashlib
import json
import sys
from collections.abc import Callable, Mapping
from typing import Any

from paths import ROOT
from tokenizer_texts import texts

from oxillama_web.gguf.reader import GGUFFile
from oxillama_web.tokenizer.gguf_tables import PREFIX

sys.path.insert(0, str(ROOT / "tools"))
from get_test_vocabularies import get_test_vocabularies

N_TEXTS = 2000
# with each of many vocabularies
N_SHORT = 250
# texts that share a digest
GROUP = 50
_CONTROL, _USER_DEFINED = 3, 4

# (text, whether with special tokens and with BOS and EOS as the vocabulary wants them) to ids
Encode = Callable[[str, bool], list[int]]


def base_vocabulary() -> dict[str, Any]:
    """The metadata that a name of tokenizer.ggml.pre is put into."""
    metadata = GGUFFile((get_test_vocabularies() / "qwen2.gguf").read_bytes()).metadata
    # not whether BOS is added, which is for the name to say
    wanted = ("model", "tokens", "token_type", "merges")
    values = {key: metadata[PREFIX + key] for key in wanted}
    values |= {"bos_token_id": 151643, "eos_token_id": 151645}
    return {PREFIX + key: value for key, value in values.items()}


def with_pre_tokenizer(base: Mapping[str, Any], name: str) -> dict[str, Any]:
    """The base vocabulary with a name of tokenizer.ggml.pre."""
    values: dict[str, Any] = {"pre": name}
    if name == "whitespace":  # a kind of vocabulary of its own
        values |= {"model": name, "normalizer.lowercase": True}
    return {**base, **{PREFIX + key: value for key, value in values.items()}}


def vocabulary_texts(metadata: Mapping[str, Any], n_texts: int) -> list[str]:
    """The texts for a vocabulary, with its special tokens in some."""
    tokens, types = (metadata[PREFIX + key] for key in ("tokens", "token_type"))
    special = [
        t for t, kind in zip(tokens, types, strict=True) if kind in (_CONTROL, _USER_DEFINED)
    ]
    return texts(n_texts, special[:300] or ["<s>"])


def digests(samples: list[str], encode: Encode) -> list[str]:
    """One for each group of texts."""
    groups = (samples[start : start + GROUP] for start in range(0, len(samples), GROUP))
    return [_digest([[encode(text, True), encode(text, False)] for text in g]) for g in groups]


def digest_of_texts(samples: list[str]) -> str:
    """Tells whether the texts are those that a golden file was made with."""
    return _digest(samples)


def _digest(value: object) -> str:
    return hashlib.sha256(json.dumps(value).encode()).hexdigest()[:16]
