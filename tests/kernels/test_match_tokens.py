"""The kernels that match tokens and mask logits, against plain Python."""

from __future__ import annotations

import ctypes
from array import array
from random import Random

import numpy as np
from grammar_helpers import LOGITS_OPS, bits
from hypothesis import given, settings
from hypothesis import strategies as st
from linear_driver import Block, libraries, load

from oxillama_web.backends.kernels import abi


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.binary(max_size=5), min_size=1, max_size=70),
    st.integers(1, 6),
    st.integers(1, 4),
    st.integers(1, 3),
    st.randoms(use_true_random=False),
)
def test_matching_tokens(
    tokens: list[bytes], n_states: int, n_classes: int, max_missing: int, random: Random
) -> None:
    """Random tables with unknown entries, of which few are listed at a time."""
    offsets = np.cumsum([0] + [len(token) for token in tokens]).astype(np.uint32)
    data = b"".join(tokens)
    classes = bytes(random.randrange(n_classes) for _ in range(256))
    table = [random.choice([*range(n_states), 0xFFFF]) for _ in range(n_states * n_classes)]
    truth = [e if e < n_states else random.randrange(n_states) for e in table]
    expected = set()
    for number, token in enumerate(tokens):
        state = 1 % n_states
        for byte in token:
            state = truth[state * n_classes + classes[byte]] if state else 0
        if token and state:
            expected.add(number)

    for library in map(load, libraries()):
        blocks = [
            Block(max(len(part), 1), part)
            for part in (data, offsets.tobytes(), classes, array("H", table).tobytes())
        ]
        vocabulary = abi.Vocabulary(blocks[0].address, blocks[1].address, len(data), len(tokens))
        automaton = abi.Automaton(blocks[2].address, blocks[3].address, n_classes, n_states)
        ids = Block(4 * len(tokens), np.arange(len(tokens), dtype=np.uint32).tobytes())
        mask, missing = Block(4 * ((len(tokens) + 31) // 32)), Block(4 * max_missing)
        n_ids, n_missing = len(tokens), ctypes.c_uint32()
        library.ox_match_tokens.restype = ctypes.c_uint32
        while n_ids:
            n_ids = library.ox_match_tokens(
                *[ctypes.byref(vocabulary), ctypes.byref(automaton), 1 % n_states],
                *[ctypes.c_void_p(ids.address), n_ids, ctypes.c_void_p(mask.address)],
                *[ctypes.c_void_p(missing.address), max_missing, ctypes.byref(n_missing)],
            )
            assert (n_missing.value > 0) == (n_ids > 0)
            entries = np.frombuffer(blocks[3].content(), np.uint16).copy()
            for entry in np.frombuffer(missing.content(), np.uint32)[: n_missing.value]:
                assert entries[entry] == abi.TRANSITION_MISSING
                entries[entry] = truth[entry]
            ctypes.memmove(blocks[3].address, entries.tobytes(), entries.nbytes)
        assert bits(array("I", mask.content())) == expected


@settings(max_examples=30, deadline=None)
@given(st.integers(1, 100), st.integers(1, 4), st.integers(0, 2**32 - 1))
def test_masking_logits(n: int, n_words: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    words = rng.integers(0, 2**32, n_words, dtype=np.uint32)
    logits = rng.normal(size=n).astype(np.float32)
    keep = [i < 32 * n_words and bool(words[i // 32] >> np.uint32(i % 32) & 1) for i in range(n)]
    expected = np.where(keep, logits, -np.inf)
    view = memoryview(array("f", logits.tolist()))
    LOGITS_OPS["numpy"].mask_logits(view, array("I", words.tolist()))
    np.testing.assert_array_equal(np.array(view), expected)
    for library in map(load, libraries()):
        values, mask = Block(4 * n, logits.tobytes()), Block(4 * n_words, words.tobytes())
        addresses = ctypes.c_void_p(values.address), ctypes.c_void_p(mask.address)
        library.ox_mask_logits(addresses[0], n, addresses[1], 32 * n_words)
        np.testing.assert_array_equal(np.frombuffer(values.content(), np.float32), expected)
