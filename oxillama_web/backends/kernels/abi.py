"""The structs of kernels_c/ox.h, member for member. tests/kernels/test_abi.py compares sizes."""

from __future__ import annotations

import ctypes
from ctypes import c_int32, c_uint32, c_uint64
from typing import ClassVar

ABI_VERSION = 12
PANEL_ROWS = 16


class Tensor(ctypes.Structure):
    """A weight."""

    _fields_: ClassVar = [
        ("data", c_uint64),
        ("bytes", c_uint64),
        ("format", c_uint32),
        ("packed", c_uint32),
        ("n_in", c_uint32),
        ("n_out", c_uint32),
    ]


class Buffer(ctypes.Structure):
    """An activation."""

    _fields_: ClassVar = [
        ("data", c_uint64),
        ("capacity", c_uint32),
        ("width", c_uint32),
        ("rows", c_uint32),
        ("replicated", c_uint32),
    ]


class Op(ctypes.Structure):
    """One operation of a plan; its arguments are its dataclass's fields, a word each."""

    _fields_: ClassVar = [
        ("kind", c_uint32),
        ("barrier", c_uint32),
        ("dst", c_int32),
        ("args", c_int32 * 13),
    ]


class KVLayer(ctypes.Structure):
    """One layer's place in a page of the cache."""

    _fields_: ClassVar = [
        ("k_offset", c_uint64),
        ("v_offset", c_uint64),
        ("n_heads", c_uint32),
        ("k_dim", c_uint32),
        ("v_dim", c_uint32),
        ("reserved", c_uint32),
    ]


class State(ctypes.Structure):
    """One recurrent layer's place in the states of a sequence."""

    _fields_: ClassVar = [
        ("offset", c_uint64),
        ("rows", c_uint32),
        ("width", c_uint32),
    ]


class Model(ctypes.Structure):
    """A plan and its tables."""

    _fields_: ClassVar = [
        ("tensors", c_uint64),
        ("constants", c_uint64),
        ("buffers", c_uint64),
        ("ops", c_uint64),
        ("kv_layers", c_uint64),
        ("n_tensors", c_uint32),
        ("n_constants", c_uint32),
        ("n_buffers", c_uint32),
        ("n_ops", c_uint32),
        ("n_kv_layers", c_uint32),
        ("page_tokens", c_uint32),
        ("kv_format", c_uint32),
        ("n_states", c_uint32),
        ("page_bytes", c_uint64),
        ("states", c_uint64),
        ("state_bytes", c_uint64),
    ]


class Sequence(ctypes.Structure):
    """Consecutive tokens of one sequence, and its cache."""

    _fields_: ClassVar = [
        ("pages", c_uint64),
        ("n_pages", c_uint32),
        ("position", c_uint32),
        ("first_token", c_uint32),
        ("n_tokens", c_uint32),
        ("states", c_uint64),
    ]


class Batch(ctypes.Structure):
    """Tokens of one or more sequences."""

    _fields_: ClassVar = [
        ("tokens", c_uint64),
        ("outputs", c_uint64),
        ("sequences", c_uint64),
        ("n_tokens", c_uint32),
        ("n_outputs", c_uint32),
        ("n_sequences", c_uint32),
        ("reserved", c_uint32),
    ]


class Vocabulary(ctypes.Structure):
    """The bytes of all tokens."""

    _fields_: ClassVar = [
        ("bytes", c_uint64),
        ("offsets", c_uint64),
        ("n_bytes", c_uint32),
        ("n_tokens", c_uint32),
    ]


class Automaton(ctypes.Structure):
    """States of a grammar's matcher."""

    _fields_: ClassVar = [
        ("classes", c_uint64),
        ("table", c_uint64),
        ("n_classes", c_uint32),
        ("n_states", c_uint32),
    ]


class KeyRotation(ctypes.Structure):
    """How a layer's keys turn when they move."""

    _fields_: ClassVar = [
        ("table", c_uint64),
        ("n_pairs", c_uint32),
        ("style", c_uint32),
    ]


STRUCTS = (
    *(Tensor, Buffer, Op, KVLayer, State, Model, Sequence, Batch, Vocabulary, Automaton),
    KeyRotation,
)

# enum ox_barriers
BARRIER_MANY = 1
BARRIER_ONE = 2

# enum ox_status
STATUS_TEXT = {
    1: "a number or size in the plan does not fit",
    2: "a tensor's format has no kernel",
    3: "more tokens, outputs or positions than the buffers or the cache hold",
    4: "a token outside of the vocabulary",
    5: "the scratch memory is too small",
    6: "a thread ended or hangs",
}
# what ox_match_tokens leaves in a table
TRANSITION_MISSING = 0xFFFE

STATUS_BAD_TOKEN = 4
STATUS_POISONED_POOL = 6
