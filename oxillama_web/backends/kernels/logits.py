"""Operations on logits in C: ctypes calls over Python's own memory."""

from __future__ import annotations

import ctypes
from array import array
from typing import TYPE_CHECKING

from . import abi
from .memory import address_of

if TYPE_CHECKING:
    from ..logits import StateTable, TokenBytes
    from .library import Library

# Unknown entries of a state table that one call lists at most.
_MAX_WANTED = 4096


class KernelLogitsOps:
    """Implements `LogitsOps` with a kernel library."""

    def __init__(self, library: Library) -> None:
        self._functions = library.functions
        # `top_p` needs room for the whole vocabulary, once it was called
        self._top_ids, self._top_values = array("I"), array("f")

    def top_k(self, logits: memoryview[float], k: int) -> tuple[list[int], list[float]]:
        """See `LogitsOps.top_k`."""
        k = min(k, len(logits))
        ids, values = (ctypes.c_uint32 * k)(), (ctypes.c_float * k)()
        self._functions.ox_top_k(
            address_of(logits), len(logits), k, ctypes.addressof(ids), ctypes.addressof(values)
        )
        return list(ids), list(values)

    def top_p(
        self, logits: memoryview[float], temperature: float, p: float
    ) -> tuple[list[int], list[float]]:
        """See `LogitsOps.top_p`."""
        n = len(logits)
        if len(self._top_ids) < n:
            self._top_ids, self._top_values = array("I", bytes(4 * n)), array("f", bytes(4 * n))
        ids, values = self._top_ids, self._top_values
        room = ids.buffer_info()[0], values.buffer_info()[0]
        count = self._functions.ox_top_p(address_of(logits), n, temperature, p, *room)
        return ids[:count].tolist(), values[:count].tolist()

    def log_sum_exp(self, logits: memoryview[float], temperature: float) -> float:
        """See `LogitsOps.log_sum_exp`."""
        return float(self._functions.ox_logsumexp(address_of(logits), len(logits), temperature))

    def entropy(self, logits: memoryview[float], temperature: float) -> float:
        """See `LogitsOps.entropy`."""
        return float(self._functions.ox_entropy(address_of(logits), len(logits), temperature))

    def sample(self, logits: memoryview[float], temperature: float, uniform: float) -> int:
        """See `LogitsOps.sample`."""
        address, n = address_of(logits), len(logits)
        return int(self._functions.ox_sample(address, n, temperature, uniform))

    def match_tokens(
        self,
        vocabulary: TokenBytes,
        automaton: StateTable,
        state: int,
        ids: array[int],
        mask: array[int],
    ) -> tuple[array[int], list[int]]:
        """See `LogitsOps.match_tokens`."""
        data, offsets = vocabulary
        classes, table, n_classes, n_states = automaton
        # the kernel moves the undecided tokens to the front
        ids = ids[:]
        wanted, n_wanted = array("I", bytes(4 * _MAX_WANTED)), ctypes.c_uint32()
        n_undecided = self._functions.ox_match_tokens(
            ctypes.byref(
                abi.Vocabulary(
                    bytes=data.buffer_info()[0],
                    offsets=offsets.buffer_info()[0],
                    n_bytes=len(data),
                    n_tokens=len(offsets) - 1,
                )
            ),
            ctypes.byref(
                abi.Automaton(
                    classes=classes.buffer_info()[0],
                    table=table.buffer_info()[0],
                    n_classes=n_classes,
                    n_states=n_states,
                )
            ),
            state,
            ids.buffer_info()[0],
            len(ids),
            mask.buffer_info()[0],
            wanted.buffer_info()[0],
            len(wanted),
            ctypes.byref(n_wanted),
        )
        return ids[:n_undecided], wanted[: n_wanted.value].tolist()

    def mask_logits(self, logits: memoryview[float], mask: array[int]) -> None:
        """See `LogitsOps.mask_logits`."""
        address, n_words = mask.buffer_info()
        self._functions.ox_mask_logits(address_of(logits), len(logits), address, 32 * n_words)
