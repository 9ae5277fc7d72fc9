"""Runs a model whose weights do not fit into memory: reads them, segment by segment, at each pass.

file ──► pinned segments     read once, packed, stay
     ──► window of others    read when their turn comes, dropped when it is over
     ──► rows of the token embedding that a batch needs
"""

from __future__ import annotations

import ctypes
import sys
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING, Protocol

from ...errors import InvalidRequestError, OutOfMemoryError, UnsupportedModelError
from ...plan.operations import Embed
from ...plan.weight_chunks import cut, paged_weights, split_large_products
from . import abi
from .memory import ALIGNMENT, Memory, align
from .program import Program
from .weights import Weights

if TYPE_CHECKING:
    from array import array
    from collections.abc import Mapping, Sequence
    from concurrent.futures import Future, ThreadPoolExecutor

    from ...plan.lora import LoraAdapter
    from ...plan.operations import Plan
    from ..offload import OffloadPolicy
    from .device import Block, Device
    from .kv_cache import CacheLayout

# Of the budget, what one segment takes at most.
_SEGMENTS_IN_BUDGET = 8


class WeightSource(Protocol):
    """Where a model file's bytes can be read again and again."""

    def read_into(self, block: Block, at: int, offset: int, n_bytes: int) -> None:
        """Copies bytes of the file, from `offset` on, to a place in a block.

        Raises:
            OSError: they cannot be read.
        """


class FileSource:
    """A file of this machine."""

    def __init__(self, path: Path) -> None:
        """Opens the file; raises OSError."""
        self._file = path.open("rb", buffering=0)
        self._lock = Lock()

    def read_into(self, block: Block, at: int, offset: int, n_bytes: int) -> None:
        """See `WeightSource.read_into`."""
        assert isinstance(block, Memory)
        rest = block.view[at : at + n_bytes]
        with self._lock:
            self._file.seek(offset)
            while rest:
                n_read = self._file.readinto(rest)
                if not n_read:
                    raise OSError(f"{self._file.name} ends before byte {offset + n_bytes}")
                rest = rest[n_read:]


class BytesSource:
    """A file that is in memory."""

    def __init__(self, data: memoryview) -> None:
        self._data = data

    def read_into(self, block: Block, at: int, offset: int, n_bytes: int) -> None:
        """See `WeightSource.read_into`."""
        block.write(at, self._data[offset : offset + n_bytes])


class LayerPager:
    """Which segments are in memory. `engine.layer_pager` is the one of a model with a budget.

    Attributes:
        policy: what was asked for.
        resident_bytes: of the weights that are in memory now.
        peak_bytes: most bytes of weights that were in memory at a time.
        bytes_read: from the file, since the model was loaded.
        n_pinned: segments that stay.
        n_segments: all of them.
    """

    def __init__(self, policy: OffloadPolicy) -> None:
        if not policy.has_budget:
            raise InvalidRequestError("a layer pager needs a policy with a budget")
        self.policy = policy
        self.resident_bytes = 0
        self.peak_bytes = 0
        self.bytes_read = 0
        self.n_pinned = 0
        self.n_segments = 0
        self._lock = Lock()  # one thread computes, another one reads ahead

    def took(self, n_bytes: int) -> None:
        """So many bytes of weights came into memory, or left it."""
        with self._lock:
            self.resident_bytes += n_bytes
            self.peak_bytes = max(self.peak_bytes, self.resident_bytes)
            self.bytes_read += max(n_bytes, 0)


def segmented(plan: Plan, policy: OffloadPolicy) -> Plan:
    """The plan with products split that are too large for a segment."""
    return split_large_products(plan, max(policy.ram_bytes // _SEGMENTS_IN_BUDGET, 1 << 16))


class PagedWeights(Weights):
    """A table of tensors whose data comes and goes.

    Args:
        plan: a `segmented` one.
    """

    def __init__(
        self,
        device: Device,
        plan: Plan,
        source: WeightSource,
        pager: LayerPager,
    ) -> None:
        policy = pager.policy
        self.pager = pager
        self._source = source
        self._plan = plan
        self._index = {name: index for index, name in enumerate(plan.weights)}
        embedded = {op.weight for op in plan.ops if isinstance(op, Embed)}
        self._by_rows = set() if policy.pin_embeddings else embedded
        kept = embedded if policy.pin_embeddings else ()
        self.paged = paged_weights(plan, tuple(kept)) - self._by_rows
        self.segments = cut(plan, self.paged, policy.ram_bytes // _SEGMENTS_IN_BUDGET)
        # no kernel reads through an address before its data is there; 0 would be refused
        super().__init__(device, plan, [ALIGNMENT] * len(plan.weights), None)
        self._unpacked = []
        self._row_blocks: dict[str, Block] = {}
        self._blocks: dict[int, Block] = {}
        self._arriving: dict[int, Future[Block]] = {}
        self._reader: ThreadPoolExecutor | None = None
        kept_names = [
            name for name in self._index if name not in self.paged and name not in self._by_rows
        ]
        self._kept = self._load(kept_names)
        self.pinned = self._choose_pinned()
        for number in self.pinned:
            self._blocks[number] = self._load(self.segments[number].weights)
            self._pack([self._index[name] for name in self.segments[number].weights])
        pager.n_pinned, pager.n_segments = len(self.pinned), len(self.segments)
        self._streamed = [
            number
            for number, segment in enumerate(self.segments)
            if segment.weights and number not in self.pinned
        ]
        self._publish()

    @property
    def held_bytes(self) -> int:
        """See `Weights.held_bytes`."""
        return self.pager.resident_bytes + sum(b.n_bytes for b in self._row_blocks.values())

    def for_plan(self, plan: Plan, adapters: Mapping[str, LoraAdapter]) -> Weights:
        """See `Weights.for_plan`: adapters and budgets do not go together."""
        raise no_adapters()

    def bring(self, number: int) -> None:
        """Makes sure that a segment's weights are in memory, and starts to read the next ones."""
        if number in self._blocks or not self.segments[number].weights:
            return
        arriving = self._arriving.pop(number, None)
        block = arriving.result() if arriving else self._read(self.segments[number].weights)
        self._blocks[number] = block
        self._point(self.segments[number].weights, block, packed=0)
        self._publish()
        self._read_ahead(number)

    def drop(self, number: int) -> None:
        """The segment was computed."""
        if number in self._blocks and number not in self.pinned:
            del self._blocks[number]
            self.pager.took(-self.segments[number].n_bytes)

    def rows_for(self, tokens: array[int]) -> array[int]:
        """Reads the embedding's rows of some tokens; returns what to look up in their place.

        Raises:
            InvalidRequestError: a token is outside of the vocabulary.
        """
        if not self._by_rows:
            return tokens
        places = {token: place for place, token in enumerate(sorted(set(tokens)))}
        for name in self._by_rows:
            info = self._plan.weights[name]
            if min(places) < 0 or max(places) >= info.shape[-1]:
                raise InvalidRequestError("a token is outside of the model's vocabulary")
            row_bytes = info.nbytes // info.shape[-1]
            block = self._row_blocks.get(name)
            if block is None or block.n_bytes < len(places) * row_bytes:
                block = self._row_blocks[name] = self._device.allocate(len(places) * row_bytes)
            for token, place in places.items():
                offset = info.offset + token * row_bytes
                self._source.read_into(block, place * row_bytes, offset, row_bytes)
            tensor = self._tensors[self._index[name]]
            tensor.data, tensor.bytes = block.address, len(places) * row_bytes
            tensor.n_out = len(places)
        self._publish()
        for place, token in enumerate(tokens):
            tokens[place] = places[token]
        return tokens

    def close(self) -> None:
        """Ends the reading."""
        if self._reader is not None:
            self._reader.shutdown(cancel_futures=True)
        self._blocks.clear()
        self._arriving.clear()

    def _choose_pinned(self) -> set[int]:
        """Segments that stay, the most wanted first, as long as a window for the others is left."""
        policy = self.pager.policy
        n_ahead = policy.prefetch_n_ahead if _has_threads() else 0
        largest = max((segment.n_bytes for segment in self.segments), default=0)
        kept = self.pager.resident_bytes
        everything = kept + sum(segment.n_bytes for segment in self.segments)
        if everything <= policy.ram_bytes:
            return {number for number, s in enumerate(self.segments) if s.weights}
        left = policy.ram_bytes - kept - (1 + n_ahead) * largest
        if left < 0:
            raise OutOfMemoryError(
                f"a budget of {policy.ram_bytes / 1e6:.1f} MB is too small for this model; it "
                f"needs at least {(kept + (1 + n_ahead) * largest) / 1e6:.1f} MB"
            )
        pinned: set[int] = set()
        for number in self._in_order_of_wish():
            n_bytes = self.segments[number].n_bytes
            if n_bytes <= left:
                pinned.add(number)
                left -= n_bytes
        return pinned

    def _in_order_of_wish(self) -> list[int]:
        policy = self.pager.policy
        numbers = [number for number, segment in enumerate(self.segments) if segment.weights]
        layers = [self.segments[number].layer for number in numbers]
        n_layers = 1 + max((layer for layer in layers if layer is not None), default=-1)

        def wish(number: int) -> int:
            segment = self.segments[number]
            if policy.pin_output_head and segment.first_op >= self._plan.n_hidden_ops:
                return 0
            if segment.layer is not None and segment.layer >= n_layers - policy.pin_last_n_layers:
                return 1
            return 2

        return sorted(numbers, key=lambda number: (wish(number), number))

    def _read_ahead(self, number: int) -> None:
        """Starts to read the segments whose turn comes next, round and round."""
        n_ahead = min(self.pager.policy.prefetch_n_ahead, len(self._streamed) - 1)
        if not _has_threads() or n_ahead < 1:
            return
        if self._reader is None:
            from concurrent.futures import ThreadPoolExecutor

            self._reader = ThreadPoolExecutor(1, "oxillama-pager")
        at = self._streamed.index(number)
        for step in range(1, n_ahead + 1):
            following = self._streamed[(at + step) % len(self._streamed)]
            if following not in self._blocks and following not in self._arriving:
                names = self.segments[following].weights
                self._arriving[following] = self._reader.submit(self._read, names)

    def _read(self, names: Sequence[str]) -> Block:
        infos = [self._plan.weights[name] for name in names]
        block = self._device.allocate(sum(align(info.nbytes) for info in infos))
        at = 0
        for info in infos:
            self._source.read_into(block, at, info.offset, info.nbytes)
            at += align(info.nbytes)
        self.pager.took(sum(info.nbytes for info in infos))
        return block

    def _load(self, names: Sequence[str]) -> Block:
        block = self._read(names)
        self._point(names, block, packed=0)
        self._publish()
        return block

    def _point(self, names: Sequence[str], block: Block, packed: int) -> None:
        at = block.address
        for name in names:
            tensor = self._tensors[self._index[name]]
            tensor.data, tensor.packed = at, packed
            at += align(self._plan.weights[name].nbytes)

    def _publish(self) -> None:
        self._table.write(0, self._tensors)


def no_adapters() -> UnsupportedModelError:
    """What is raised when adapters are applied to a paged model."""
    return UnsupportedModelError(
        "LoRA adapters cannot be applied to a model with a memory budget; load it without one"
    )


class PagedProgram(Program):
    """A program that is run segment by segment."""

    def __init__(
        self,
        device: Device,
        plan: Plan,
        weights: PagedWeights,
        cache: CacheLayout,
    ) -> None:
        super().__init__(device, plan, weights, cache)
        self._paged = weights
        self._models = [self._part(segment.first_op, segment.n_ops) for segment in weights.segments]

    def tokens(self, ids: array[int]) -> array[int]:
        """See `Program.tokens`."""
        return self._paged.rows_for(ids)

    def run(self, batch: int, *, with_head: bool) -> None:
        """See `Program.run`."""
        for number, (segment, model) in enumerate(
            zip(self._paged.segments, self._models, strict=True)
        ):
            if segment.first_op >= self._plan.n_hidden_ops and not with_head:
                break
            self._paged.bring(number)
            self._check(self._device.forward(model.address, batch, self._scratch), segment.first_op)
            self._paged.drop(number)

    def close(self) -> None:
        """Frees the buffers, and ends the reading."""
        super().close()
        self._paged.close()

    def _part(self, first_op: int, n_ops: int) -> Block:
        model = abi.Model.from_buffer_copy(self._model.read(0, ctypes.sizeof(abi.Model)))
        model.ops += first_op * ctypes.sizeof(abi.Op)
        model.n_ops = n_ops
        if first_op < self._plan.n_hidden_ops:
            model.n_buffers = self._n_body_buffers
        return self._place(model)


def _has_threads() -> bool:
    return sys.platform != "emscripten"
