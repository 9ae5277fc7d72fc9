"""How cached keys turn when the tokens before them are forgotten and they move to the front.

A rotary embedding turns a key by its position: moving it back by n positions turns it back by n
times its frequencies, whatever its position is (Su et al. 2021, https://arxiv.org/abs/2104.09864).
An attention factor that the rotation also multiplies by (YaRN) is in the cached key already.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

from .operations.attention import Attention, KVStore
from .operations.embedding import PositionEmbed
from .operations.experts import ExpertLinear
from .operations.linear import Linear
from .operations.rope import Rope, RopeTable

if TYPE_CHECKING:
    from collections.abc import Sequence

    from .operations.rope import RopeStyle
    from .plan import Plan


class KeyRotation(NamedTuple):
    """The rotary embedding of one layer's keys; without frequencies they know no positions."""

    frequencies: tuple[float, ...] = ()
    style: RopeStyle = "interleaved"


def key_rotations(plan: Plan) -> list[KeyRotation] | None:
    """Each layer's rotation of keys.

    Returns:
        None where positions are in more than that: in learned vectors, in attention factors that
        change, or in keys that were changed after the rotation.
    """
    tables: dict[str, RopeTable] = {}
    # buffers that hold rotated values; None: values that were changed after it
    rotated: dict[str, KeyRotation | None] = {}
    layers = [KeyRotation()] * len(plan.kv_layers)
    for op in plan.ops:
        match op:
            case PositionEmbed():
                return None
            case RopeTable():
                tables[op.dst] = op
            case Rope():
                turns_twice = op.buffer in rotated
                rotated[op.buffer] = None if turns_twice else _rotation(tables[op.table], op)
            case KVStore():
                rotation = rotated.get(op.keys, KeyRotation())
                if rotation is None:
                    return None
                layers[op.layer] = rotation
            case Linear() | Attention() | ExpertLinear():
                rotated.pop(op.dst, None)
            case _ if any(name in rotated for name in op.reads):
                rotated[op.writes] = None
            case _:
                rotated.pop(op.writes, None)
    return layers


def turned_back(frequencies: Sequence[float], n: int) -> list[float]:
    """Cosines, then sines, of the angles that keys turn by when they move n positions back."""
    return [f(-n * frequency) for f in (math.cos, math.sin) for frequency in frequencies]


def _rotation(table: RopeTable, op: Rope) -> KeyRotation | None:
    if len(table.attention_factors) > 1:
        return None
    return KeyRotation(table.frequencies, op.style)
