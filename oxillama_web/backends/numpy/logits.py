"""Operations on logits in NumPy: the reference for the kernels, and the fallback."""

from __future__ import annotations

from array import array
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ..logits import StateTable, TokenBytes


class NumpyLogitsOps:
    """Implements `LogitsOps` in float64."""

    def top_k(self, logits: memoryview[float], k: int) -> tuple[list[int], list[float]]:
        """See `LogitsOps.top_k`."""
        values = np.asarray(logits)
        order = np.where(np.isnan(values), np.inf, -values)
        # a stable sort keeps equal logits in the order of their ids
        ids = np.argsort(order, kind="stable")[:k]
        return ids.tolist(), values[ids].tolist()

    def top_p(
        self, logits: memoryview[float], temperature: float, p: float
    ) -> tuple[list[int], list[float]]:
        """See `LogitsOps.top_p`."""
        values = np.asarray(logits, np.float64)
        values = np.where(np.isnan(values), -np.inf, values)
        order = np.argsort(-values, kind="stable")
        largest = values[order[0]]
        if largest == -np.inf:
            return [], []
        below = np.where(values[order] == largest, 0.0, values[order] - largest)
        cumulative = np.cumsum(np.exp(below / temperature))
        ids = order[: int(np.searchsorted(cumulative, p * cumulative[-1])) + 1]
        return ids.tolist(), values[ids].tolist()

    def log_sum_exp(self, logits: memoryview[float], temperature: float) -> float:
        """See `LogitsOps.log_sum_exp`."""
        scaled = np.asarray(logits, np.float64) / temperature
        largest = scaled.max()
        return float(largest + np.log(np.exp(scaled - largest).sum()))

    def entropy(self, logits: memoryview[float], temperature: float) -> float:
        """See `LogitsOps.entropy`."""
        scaled = np.asarray(logits, np.float64) / temperature
        scaled = np.maximum(scaled - scaled.max(), -1e4)
        exponentials = np.exp(scaled)
        total = exponentials.sum()
        return float(np.log(total) - (exponentials * scaled).sum() / total)

    def sample(self, logits: memoryview[float], temperature: float, uniform: float) -> int:
        """See `LogitsOps.sample`."""
        scaled = np.asarray(logits, np.float64) / temperature
        cumulative = np.cumsum(np.exp(scaled - scaled.max()))
        index = np.searchsorted(cumulative, uniform * cumulative[-1], side="right")
        return int(min(index, len(cumulative) - 1))

    def match_tokens(
        self,
        vocabulary: TokenBytes,
        automaton: StateTable,
        state: int,
        ids: array[int],
        mask: array[int],
    ) -> tuple[array[int], list[int]]:
        """See `LogitsOps.match_tokens`. Advances all tokens by a byte at a time."""
        data, offsets = np.array(vocabulary.data), np.array(vocabulary.offsets, np.int64)
        classes, table = np.array(automaton.classes), np.array(automaton.table, np.int64)
        tokens = np.array(ids, np.int64)
        at, end = offsets[tokens], offsets[tokens + 1]
        tokens, at, end = (part[at < end] for part in (tokens, at, end))
        states = np.full(len(tokens), state)
        undecided: list[NDArray[np.int64]] = []
        wanted: set[int] = set()
        while len(tokens):
            entries = states * automaton.n_classes + classes[data[at]]
            states, at = table[entries], at + 1
            unknown = states >= automaton.n_states
            undecided.append(tokens[unknown])
            wanted.update(entries[unknown].tolist())
            for token in tokens[(states > 0) & ~unknown & (at == end)].tolist():
                mask[token // 32] |= 1 << token % 32
            alive = (states > 0) & ~unknown & (at < end)
            tokens, at, end, states = (part[alive] for part in (tokens, at, end, states))
        rest = np.sort(np.concatenate([*undecided, np.empty(0)]))
        return array("I", rest.astype(np.uint32).tolist()), sorted(wanted)

    def mask_logits(self, logits: memoryview[float], mask: array[int]) -> None:
        """See `LogitsOps.mask_logits`."""
        allowed = np.unpackbits(np.array(mask, "<u4").view(np.uint8), bitorder="little")
        values = np.asarray(logits)
        values[len(allowed) :] = -np.inf
        values[: len(allowed)][allowed[: len(values)] == 0] = -np.inf
