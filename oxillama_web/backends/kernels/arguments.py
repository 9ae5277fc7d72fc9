"""The tables that one call into the kernels reads, in the memory of a device."""

from __future__ import annotations

import ctypes
from array import array
from typing import TYPE_CHECKING, Any

from .memory import align

if TYPE_CHECKING:
    from .device import Device


class Arguments:
    """Memory for the tables of one call, reused by the next.

    Tables hold each other's addresses, so `reserve` says where they will be before they are filled.
    """

    def __init__(self, device: Device) -> None:
        self._device = device
        self._block = device.allocate(0)
        self._offsets: list[int] = []

    def reserve(self, *sizes: int) -> list[int]:
        """Return an address for each table of so many bytes, valid until the next call."""
        self._offsets, end = [], 0
        for n_bytes in sizes:
            self._offsets.append(end)
            end += align(n_bytes)
        if end > self._block.n_bytes:
            self._block = self._device.allocate(end)
        return [self._block.address + offset for offset in self._offsets]

    def write(self, *tables: array[Any] | ctypes.Array[Any] | ctypes.Structure) -> None:
        """Write the tables, which are those that were reserved for, in the same order."""
        data = bytearray()
        for table, offset in zip(tables, self._offsets, strict=True):
            data += bytes(offset - len(data))
            data += memoryview(table).cast("B")
        self._block.write(0, data)
