"""Context shifts in the kernels' caches: positions move, and their keys are rotated (K-shift)."""

from __future__ import annotations

import ctypes
from array import array
from functools import cached_property
from typing import TYPE_CHECKING

from ...errors import KernelError
from ...plan.kv_shift import key_rotations, turned_back
from . import abi
from .arguments import Arguments
from .kv_layout import PAGE_TOKENS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ...plan.kv_shift import KeyRotation
    from ...plan.plan import Plan
    from .device import Block, Device
    from .kv_layout import CacheLayout


class KVShift:
    """Moves positions in the caches of a model.

    It knows the model's own plan. LoRA adapters change neither its layers nor its rotations.
    """

    def __init__(self, device: Device, plan: Plan, layout: CacheLayout) -> None:
        self._device = device
        self._plan = plan
        self._layout = layout

    @property
    def is_possible(self) -> bool:
        """See `KVCache.can_shift`."""
        return self._rotations is not None

    def run(self, pages: Sequence[Block], start: int, end: int, count: int) -> None:
        """Move positions `start` to `end` of a cache down by `count`, and rotate their keys.

        The pages that are written must belong to no other cache.
        """
        rotations = self._rotations or []
        # float32, as the frequencies that the keys were rotated by
        angles = {r: turned_back(array("f", r.frequencies), count) for r in rotations}
        tables = array("f", [value for table in angles.values() for value in table])
        page_table = array("Q", (page.address for page in pages))
        key = array("f", [0.0]) * max(layer.k_dim for layer in self._plan.kv_layers)
        rows = (abi.KeyRotation * len(rotations))()
        arguments = Arguments(self._device)
        model_at, layers_at, sequence_at, rows_at, pages_at, tables_at, key_at = arguments.reserve(
            ctypes.sizeof(abi.Model),
            ctypes.sizeof(self._layout.layers),
            ctypes.sizeof(abi.Sequence),
            ctypes.sizeof(rows),
            *(table.itemsize * len(table) for table in (page_table, tables, key)),
        )
        addresses = _addresses(angles, tables_at)
        for row, rotation in zip(rows, rotations, strict=True):
            row.table = addresses[rotation]
            row.n_pairs = len(rotation.frequencies)
            row.style = int(rotation.style == "neox")
        # ox_kv_shift reads nothing else of the model
        model = abi.Model(
            kv_layers=layers_at,
            n_kv_layers=len(self._layout.layers),
            page_tokens=PAGE_TOKENS,
            kv_format=self._layout.format,
            page_bytes=self._layout.page_bytes,
        )
        sequence = abi.Sequence(
            pages=pages_at, n_pages=len(pages), position=start, n_tokens=end - start
        )
        arguments.write(model, self._layout.layers, sequence, rows, page_table, tables, key)
        ox_kv_shift = self._device.functions.ox_kv_shift
        status = ox_kv_shift(model_at, sequence_at, count, rows_at, key_at, len(key))
        if status:
            raise KernelError(abi.STATUS_TEXT.get(status & 0xFF, f"status {status}"))

    @cached_property
    def _rotations(self) -> list[KeyRotation] | None:
        # not at load: it takes time, and most conversations never need it
        return key_rotations(self._plan)


def _addresses(angles: dict[KeyRotation, list[float]], start: int) -> dict[KeyRotation, int]:
    """Return the address of each rotation's table; they are consecutive from `start` on."""
    addresses = {}
    for rotation, table in angles.items():
        addresses[rotation] = start
        start += 4 * len(table)
    return addresses
