"""The tiny files of all architectures: those of architecture_cases/, which are found by themselves.

A case is written twice from the same seed: as Q8_0, and as F32 with the very values that the Q8_0
file holds, so that one set of exact logits serves both. tests/golden/make_architectures.py and the
tests write equal files.
"""

from __future__ import annotations

import zlib
from importlib import import_module
from pathlib import Path
from pkgutil import iter_modules

import architecture_cases
import numpy as np
from tiny_file import Case, Format, OtherCase, TinyFile

TEXT = (
    "the fox and the other runs over the hill to see what is on the way to the house. It has 12 "
    "dogs, said the man; the others went home and what they tell us in the end is not the same"
)
# Ids for a measure of rounding errors, which needs more tokens than a text gives.
MANY_IDS = np.random.default_rng(1).integers(4, 260, (4, 250)).tolist()

_ALL: dict[str, Case | OtherCase] = {
    name: case
    for module in iter_modules(architecture_cases.__path__)
    for name, case in import_module(f"architecture_cases.{module.name}").CASES.items()
}
CASES = {name: case for name, case in _ALL.items() if isinstance(case, Case)}
EXPERTS_AND_ENCODERS = {name: case for name, case in _ALL.items() if isinstance(case, OtherCase)}


def write_case(path: Path, name: str, format: Format) -> None:
    """Write a case's file."""
    case = _ALL[name]
    if isinstance(case, OtherCase):
        case.write(path, format=format, **case.options)
        return
    file = TinyFile(path, case.architecture, format, seed=zlib.crc32(name.encode()))
    case.fill(file)
    file.finish()


def many_ids(case: str) -> list[list[int]]:
    """The texts that a case's divergence is measured on."""
    return MANY_IDS[: CASES[case].n_texts]


def divergence(case: str, exact: list[np.ndarray], other: list[np.ndarray]) -> float:
    """How far an encoder's hidden states or a decoder's logits, [rows, values], are from exact.

    KL(exact || other) of each row of logits, or of each row of hidden states the mean square of the
    errors as a part of all values' own: their mean, or median in mixtures of experts.
    """
    whole, strayed = np.concatenate(exact), np.concatenate(other)
    if CASES[case].is_encoder:
        distances = np.mean((strayed - whole) ** 2, axis=-1) / np.mean(whole**2)
    else:
        p, q = _log_softmax(whole), _log_softmax(strayed)
        distances = np.sum(np.exp(p) * (p - q), axis=-1)
    return float(np.median(distances) if CASES[case].has_experts else np.mean(distances))


def _log_softmax(x: np.ndarray) -> np.ndarray:
    shifted = x - x.max(axis=-1, keepdims=True)
    return shifted - np.log(np.exp(shifted).sum(axis=-1, keepdims=True))
