"""A model's weights in the memory of a device, packed for the vector units as they arrive."""

from __future__ import annotations

import ctypes
import math
from typing import TYPE_CHECKING

from ...errors import KernelError, UnsupportedModelError
from ...gguf.types import FORMATS, GGMLType
from ...plan.weight_chunks import tables
from ..offload import loaded_whole
from . import abi
from .memory import align

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    from ...gguf.reader import TensorInfo
    from ...gguf.source import ModelSource
    from ...plan.lora import LoraAdapter
    from ...plan.plan import Plan
    from ..offload import LayerPager
    from .device import Device


class Weights:
    """The table of a plan's tensors (ox_tensor in kernels_c/ox.h), and what it points to.

    Args:
        addresses: where the plan's weights are, in its order, or will be once they arrive.
        owner: keeps that memory alive.
        packed: names of the weights that are packed already.

    Raises:
        UnsupportedModelError: a tensor's format has no kernel.
    """

    def __init__(
        self,
        device: Device,
        plan: Plan,
        addresses: Sequence[int],
        owner: object,
        packed: Collection[str] = (),
    ) -> None:
        _check_formats(device, plan)
        infos = list(plan.weights.values())
        self.n_bytes = sum(info.nbytes for info in infos)
        self._device = device
        self._infos = infos
        self._owner = owner
        self._tensors = (abi.Tensor * len(infos))(*map(_tensor, infos, addresses))
        self._ends = [info.offset + info.nbytes for info in infos]
        # rows of a table are read as they are in the file: most of its pages are never touched
        self._tables = {list(plan.weights).index(name) for name in tables(plan)}
        self._unpacked: list[int] = []
        for index, (name, tensor) in enumerate(zip(plan.weights, self._tensors, strict=True)):
            if name in packed:
                tensor.packed = 1
            else:
                self._unpacked.append(index)
        # the next one to pack is the last
        self._unpacked.sort(key=self._ends.__getitem__, reverse=True)
        self._table = device.allocate(ctypes.sizeof(self._tensors))
        self._table.write(0, self._tensors)

    @property
    def address(self) -> int:
        """The address of the table."""
        return self._table.address

    @property
    def held_bytes(self) -> int:
        """Bytes of the weights that are in memory."""
        return self.n_bytes

    def __len__(self) -> int:
        return len(self._tensors)

    def for_plan(self, plan: Plan, adapters: Mapping[str, LoraAdapter]) -> Weights:
        """Return the weights of another plan of the same model.

        Args:
            adapters: have the weights of the plan that are not the model's. These are copied into
                the device's memory.
        """
        own = {info.name: index for index, info in enumerate(self._infos)}
        addresses, blocks = [], []
        for name, info in plan.weights.items():
            if name not in adapters:
                addresses.append(self._tensors[own[name]].data)
                continue
            block = self._device.allocate(info.nbytes)
            block.write(0, adapters[name].data(info))
            blocks.append(block)
            addresses.append(block.address)
        packed = {name for name, index in own.items() if self._tensors[index].packed}
        weights = Weights(self._device, plan, addresses, (self, blocks), packed=packed)
        weights.pack(math.inf)
        return weights

    def with_pager(self, plan: Plan, pager: LayerPager) -> Weights:
        """Return the weights of another plan of the same model, held by another policy.

        Raises:
            InvalidRequestError: the model is in memory as a whole.
            OutOfMemoryError: the budget is too small.
        """
        raise loaded_whole()

    def pack(self, n_received: float) -> int | None:
        """Pack the tensors that are complete now that the file's first bytes have arrived.

        Returns:
            How many bytes the next tensor needs; None when all are packed.
        """
        ready = []
        while self._unpacked and self._ends[self._unpacked[-1]] <= n_received:
            ready.append(self._unpacked.pop())
        self._pack(ready)
        return self._ends[self._unpacked[-1]] if self._unpacked else None

    def _pack(self, indices: Sequence[int]) -> None:
        if not indices:
            return
        functions, stride = self._device.functions, ctypes.sizeof(abi.Tensor)
        needed = max(functions.ox_pack_scratch_bytes(self.address + i * stride) for i in indices)
        scratch = self._device.allocate(needed)
        one = self._device.allocate(stride)
        for index in indices:
            tensor = self._tensors[index]
            if index in self._tables or not _has_panels(tensor):
                continue
            for matrix in _matrices(self._infos[index], tensor):
                one.write(0, matrix)
                n_panels = matrix.n_out // abi.PANEL_ROWS
                status = functions.ox_pack(
                    one.address, 0, n_panels, scratch.address, scratch.n_bytes
                )
                if status:
                    reason = abi.STATUS_TEXT.get(status, status)
                    raise KernelError(f"packing a tensor failed: {reason}")
            tensor.packed = 1
        self._table.write(0, self._tensors)


def load_weights(device: Device, plan: Plan, source: ModelSource) -> Weights:
    """Return a plan's weights: where they are in the source, or copied; packed if they are here.

    Raises:
        UnsupportedModelError: a tensor's format has no kernel.
        OutOfMemoryError: there is no room for a copy.
    """
    infos = list(plan.weights.values())
    owner: object = source
    if source.address is not None:
        addresses = [source.address + info.offset for info in infos]
    else:
        _check_formats(device, plan)
        owner = arena = device.allocate(sum(align(info.nbytes) for info in infos))
        addresses, position = [], 0
        for info in infos:
            source.read_into(arena, position, info.offset, info.nbytes)
            addresses.append(arena.address + position)
            position += align(info.nbytes)
    weights = Weights(device, plan, addresses, owner)
    weights.pack(source.n_received)
    return weights


def _check_formats(device: Device, plan: Plan) -> None:
    vectors = {name for op in plan.ops for name in op.vectors}
    for name, info in plan.weights.items():
        if name in vectors:
            has_kernel = info.format == GGMLType.F32
        else:
            has_kernel = device.functions.ox_format_supported(info.format)
        if not has_kernel:
            known = FORMATS.get(info.format)
            raise UnsupportedModelError(
                f"tensor {info.name!r} has format {known.name if known else info.format}, for "
                f"which there is no kernel yet; executor='numpy' reads it"
            )


def _tensor(info: TensorInfo, address: int) -> abi.Tensor:
    return abi.Tensor(
        data=address,
        bytes=info.nbytes,
        format=info.format,
        n_in=info.shape[0],
        n_out=math.prod(info.shape[1:]),
    )


def _has_panels(tensor: abi.Tensor) -> bool:
    """Return whether a tensor has enough rows to be packed."""
    return bool(tensor.n_out >= abi.PANEL_ROWS)


def _matrices(info: TensorInfo, tensor: abi.Tensor) -> list[abi.Tensor]:
    """Return the experts' matrices of a tensor with three dimensions, else the tensor itself."""
    if len(info.shape) < 3:
        return [tensor]
    n_experts, n_bytes = tensor.n_out // info.shape[1], tensor.bytes * info.shape[1] // tensor.n_out
    return [
        abi.Tensor(tensor.data + expert * n_bytes, n_bytes, tensor.format, 0, *info.shape[:2])
        for expert in range(n_experts)
    ]
