"""The reference: a plan walked operation by operation in NumPy, all in float32.

Slow, and as plain as can be: the kernels are compared with it, and it is compared with llama.cpp.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from ..api import check_batch
from ..cache import SequenceCache
from ..kernels.memory import Memory
from ..offload import loaded_whole, no_adapters
from ..recurrent import StateLayout, StateMemory
from . import (  # noqa: F401 (they register what computes each operation)
    heads,
    operations,
    recurrent,
    streams,
)
from .forward_pass import ForwardPass
from .kv_cache import NumpyKVCache
from .weights import PagedArrays, dequantized_bytes, whole_arrays

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ...gguf.source import ModelSource
    from ...plan.lora import LoraAdapter
    from ...plan.plan import Plan
    from ..api import Batch, Outputs
    from ..offload import LayerPager

Array = NDArray[np.float32]


class NumpyExecutor:
    """Dequantizes all weights to float32 at load, or with a pager as they are needed."""

    name = "numpy"

    def __init__(self, plan: Plan, source: ModelSource, pager: LayerPager | None = None) -> None:
        self._plan = plan
        self._states = StateMemory(StateLayout(plan), Memory)
        self._weights: dict[str, Array] | PagedArrays
        if pager is not None:
            self._weights = PagedArrays(plan.weights, source, pager)
        else:
            self._weights = whole_arrays(plan, source)

    def use_plan(self, plan: Plan, adapters: Mapping[str, LoraAdapter]) -> None:
        """See `Executor.use_plan`."""
        if not isinstance(self._weights, dict):
            raise no_adapters()
        weights = {name: array for name, array in self._weights.items() if name in plan.weights}
        for name, adapter in adapters.items():
            info = plan.weights[name]
            weights[name] = dequantized_bytes(adapter.data(info), info)
        self._plan, self._weights = plan, weights

    def use_pager(self, plan: Plan, pager: LayerPager) -> None:
        """See `Executor.use_pager`."""
        if isinstance(self._weights, dict):
            raise loaded_whole()
        self._plan = plan
        self._weights = PagedArrays(plan.weights, self._weights.source, pager)

    def receive(self, n_received: int) -> int | None:
        """See `Executor.receive`: the whole model was here."""
        return None

    @property
    def memory_bytes(self) -> int:
        """Bytes of the dequantized weights."""
        if not isinstance(self._weights, dict):
            return self._weights.pager.resident_bytes
        return sum(weight.nbytes for weight in self._weights.values())

    def new_cache(self) -> SequenceCache:
        """An empty float32 cache."""
        return SequenceCache(NumpyKVCache(self._plan), self._states.new_states())

    def cache_bytes(self, n_tokens: int) -> int:
        """See `Executor.cache_bytes`."""
        layers = self._plan.kv_layers
        n_values = sum(layer.n_heads * (layer.k_dim + layer.v_dim) for layer in layers)
        return 4 * n_tokens * n_values + self._states.layout.n_bytes

    def forward(
        self, cache: SequenceCache, tokens: Sequence[int], outputs: Outputs
    ) -> memoryview[float]:
        """See `Executor.forward`."""
        return self.forward_batch([(cache, tokens)], outputs)

    def forward_batch(self, batch: Batch, outputs: Outputs) -> memoryview[float]:
        """See `Executor.forward_batch`."""
        return self._forward(batch, outputs, len(self._plan.ops), self._plan.output)

    def hidden_states(self, batch: Batch, outputs: Outputs) -> memoryview[float]:
        """See `Executor.hidden_states`."""
        return self._forward(batch, outputs, self._plan.n_hidden_ops, self._plan.hidden)

    def _forward(
        self, batch: Batch, outputs: Outputs, n_ops: int, result: str
    ) -> memoryview[float]:
        check_batch(batch)
        run = ForwardPass(self._plan, self._weights, batch, outputs)
        for cache, _ in batch:
            cache.begin_pass()
        for op in self._plan.ops[:n_ops]:
            run.execute(op)
        for cache, tokens in batch:
            cache.end_pass(len(tokens))
        values = np.ascontiguousarray(run[result], np.float32)
        return values.reshape(-1).data.cast("B").cast("f")

    def close(self) -> None:
        """Frees the weights."""
        self._weights = {}
