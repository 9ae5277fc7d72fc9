"""Digests of token ids: many texts with many vocabularies in a small file."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from typing import Any

from tokenizer_texts import texts

N_TEXTS = 2000
# texts that share a digest
GROUP = 50
_CONTROL, _USER_DEFINED = 3, 4

# (text, whether with special tokens and with BOS and EOS as the vocabulary wants them) to ids
Encode = Callable[[str, bool], list[int]]


def vocabulary_texts(metadata: Mapping[str, Any]) -> list[str]:
    """The texts for a vocabulary, with its special tokens in some."""
    tokens, types = (metadata[f"tokenizer.ggml.{key}"] for key in ("tokens", "token_type"))
    special = [
        t for t, kind in zip(tokens, types, strict=True) if kind in (_CONTROL, _USER_DEFINED)
    ]
    return texts(N_TEXTS, special[:300] or ["<s>"])


def digests(samples: list[str], encode: Encode) -> list[str]:
    """One for each group of texts."""
    groups = (samples[start : start + GROUP] for start in range(0, len(samples), GROUP))
    return [_digest([[encode(text, True), encode(text, False)] for text in g]) for g in groups]


def digest_of_texts(samples: list[str]) -> str:
    """Tells whether the texts are those that a golden file was made with."""
    return _digest(samples)


def _digest(value: object) -> str:
    return hashlib.sha256(json.dumps(value).encode()).hexdigest()[:16]
