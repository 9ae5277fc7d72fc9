"""Runs a model whose weights do not fit into memory: reads them again, segment by segment.

file ──► pinned segments     read once, packed, stay in memory
     ──► other segments      loaded before they are computed, evicted afterwards
     ──► rows of the token embedding that a batch needs
"""

from __future__ import annotations

import ctypes
import sys
from typing import TYPE_CHECKING

from ...errors import InvalidRequestError, OutOfMemoryError
from ...plan.weight_chunks import cut, embedded_weights, paged_weights
from ..forking import renew_after_fork
from ..offload import no_adapters
from . import abi
from .memory import ALIGNMENT, align
from .program import Program
from .weights import Weights

if TYPE_CHECKING:
    from array import array
    from collections.abc import Mapping, Sequence
    from concurrent.futures import Future, ThreadPoolExecutor

    from ...gguf.source import ModelSource
    from ...plan.lora import LoraAdapter
    from ...plan.plan import Plan
    from ..offload import LayerPager
    from .device import Block, Device
    from .kv_layout import CacheLayout


class PagedWeights(Weights):
    """Weights that are kept within a pager's budget of memory.

    Args:
        plan: its products are split by `backend.split_for`.
        source: the weights are read from it again and again.

    Raises:
        OutOfMemoryError: the budget is too small.
        OSError: the weights cannot be read.
    """

    def __init__(self, device: Device, plan: Plan, source: ModelSource, pager: LayerPager) -> None:
        policy = pager.policy
        pager.reset()
        self.pager = pager
        self._source = source
        self._plan = plan
        self._index = {name: index for index, name in enumerate(plan.weights)}
        embedded = embedded_weights(plan)
        self._by_rows = set() if policy.pin_embeddings else embedded
        kept = embedded if policy.pin_embeddings else ()
        self.paged = paged_weights(plan, tuple(kept)) - self._by_rows
        self.segments = cut(plan, self.paged, policy.segment_bytes)
        # no kernel reads at an address before its data is there, but 0 would be refused
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
        renew_after_fork(self)

    def renew_after_fork(self) -> None:
        """See `forking`: what the parent's reader was about to read is read by this process."""
        self._reader = None
        self._arriving.clear()

    @property
    def held_bytes(self) -> int:
        """See `Weights.held_bytes`."""
        return self.pager.resident_bytes + sum(b.n_bytes for b in list(self._row_blocks.values()))

    def for_plan(self, plan: Plan, adapters: Mapping[str, LoraAdapter]) -> Weights:
        """See `Weights.for_plan`: adapters and budgets do not go together."""
        raise no_adapters()

    def with_pager(self, plan: Plan, pager: LayerPager) -> PagedWeights:
        """See `Weights.with_pager`."""
        return PagedWeights(self._device, plan, self._source, pager)

    def load_segment(self, number: int) -> None:
        """Make sure that a segment's weights are in memory, and prefetch the next ones."""
        if number in self._blocks or not self.segments[number].weights:
            return
        arriving = self._arriving.pop(number, None)
        block = arriving.result() if arriving else self._read(self.segments[number].weights)
        self._blocks[number] = block
        self._point(self.segments[number].weights, block, packed=0)
        self._publish()
        self._prefetch(number)

    def evict_segment(self, number: int) -> None:
        """Free a segment's weights, unless they are pinned."""
        if number in self._blocks and number not in self.pinned:
            del self._blocks[number]
            self.pager.count(-self.segments[number].n_bytes)

    def rows_for(self, tokens: array[int]) -> array[int]:
        """Read the embedding's rows of some tokens; return the numbers of the rows there.

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
        """Stop reading, and free the weights that are not pinned."""
        if self._reader is not None:
            self._reader.shutdown(cancel_futures=True)
        self._blocks.clear()
        self._arriving.clear()

    def _choose_pinned(self) -> set[int]:
        """Choose the segments that stay, by priority, while enough is left for the others."""
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
        for number in self._by_priority():
            n_bytes = self.segments[number].n_bytes
            if n_bytes <= left:
                pinned.add(number)
                left -= n_bytes
        return pinned

    def _by_priority(self) -> list[int]:
        policy = self.pager.policy
        numbers = [number for number, segment in enumerate(self.segments) if segment.weights]
        layers = [self.segments[number].layer for number in numbers]
        n_layers = 1 + max((layer for layer in layers if layer is not None), default=-1)

        def priority(number: int) -> int:
            segment = self.segments[number]
            if policy.pin_output_head and segment.first_op >= self._plan.n_hidden_ops:
                return 0
            if segment.layer is not None and segment.layer >= n_layers - policy.pin_last_n_layers:
                return 1
            return 2

        return sorted(numbers, key=lambda number: (priority(number), number))

    def _prefetch(self, number: int) -> None:
        """Start to read the segments that are computed next; the first follows the last."""
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
        self.pager.count(sum(info.nbytes for info in infos))
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


class PagedProgram(Program):
    """Runs a plan segment by segment."""

    def __init__(
        self,
        device: Device,
        plan: Plan,
        weights: PagedWeights,
        cache: CacheLayout,
    ) -> None:
        starts = [segment.first_op for segment in weights.segments]
        super().__init__(device, plan, weights, cache, starts)
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
            self._paged.load_segment(number)
            first_row = self._lowered.first_rows[segment.first_op]
            self._check(self._device.forward(model.address, batch, self._scratch), first_row)
            self._paged.evict_segment(number)

    def close(self) -> None:
        """See `Program.close`; also stops reading."""
        super().close()
        self._paged.close()

    def _part(self, first_op: int, n_ops: int) -> Block:
        model = abi.Model.from_buffer_copy(self._model.read(0, ctypes.sizeof(abi.Model)))
        rows = self._lowered.first_rows
        model.ops += rows[first_op] * ctypes.sizeof(abi.Op)
        model.n_ops = rows[first_op + n_ops] - rows[first_op]
        if first_op < self._plan.n_hidden_ops:
            model.n_buffers = self._n_body_buffers
        return self._place(model)


def _has_threads() -> bool:
    return sys.platform != "emscripten"
