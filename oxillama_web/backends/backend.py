"""Chooses what runs a model, and makes an executor of it."""

from __future__ import annotations

import warnings
from functools import partial
from typing import TYPE_CHECKING, NamedTuple

from ..errors import KernelError

if TYPE_CHECKING:
    from collections.abc import Callable

    from ..config import EngineConfig, KVCacheType
    from ..gguf.source import ModelSource
    from ..gguf.strings import StringKernels
    from ..plan.plan import Plan
    from .api import Executor
    from .kernels.device import Device
    from .kernels.library import Library
    from .logits import LogitsOps
    from .offload import LayerPager

# Bytes. Splitting smaller products would save no memory worth a call.
_MIN_SPLIT_BYTES = 1 << 16


class Backend(NamedTuple):
    """What runs a model.

    Attributes:
        new_device: makes the device that the kernels run on; None for NumPy.
        logits_ops: works on the logits.
        string_kernels: reads the strings of a vocabulary faster; None without kernels.
    """

    new_device: Callable[[], Device] | None
    logits_ops: LogitsOps
    string_kernels: StringKernels | None

    def create_executor(
        self,
        plan: Plan,
        source: ModelSource,
        kv_cache_type: KVCacheType = "f16",
        pager: LayerPager | None = None,
    ) -> Executor:
        """Make an executor of a plan, with the weights that have arrived so far.

        Args:
            pager: holds no more weights than its policy allows, and reads the others whenever they
                are needed.

        Raises:
            UnsupportedModelError: a tensor's format has no kernel.
            OutOfMemoryError: the weights do not fit, or the budget is too small.
            OSError: the model cannot be read.
        """
        if pager is not None:
            plan = split_for(plan, pager)
        if self.new_device is None:
            from .numpy.executor import NumpyExecutor

            return NumpyExecutor(plan, source, pager)
        from .kernels.executor import KernelExecutor

        device = self.new_device()
        if pager is None:
            from .kernels.weights import load_weights

            return KernelExecutor(plan, kv_cache_type, device, load_weights(device, plan, source))
        from .kernels.paging import PagedProgram, PagedWeights

        weights = PagedWeights(device, plan, source, pager)
        return KernelExecutor(plan, kv_cache_type, device, weights, PagedProgram)


def split_for(plan: Plan, pager: LayerPager) -> Plan:
    """Return the plan with the products split whose weights are too large for a segment."""
    from ..plan.weight_chunks import split_large_products  # few models need it
    from .kernels.abi import PANEL_ROWS

    limit = max(pager.policy.segment_bytes, _MIN_SPLIT_BYTES)
    return split_large_products(plan, limit, PANEL_ROWS)


def local_backend(config: EngineConfig) -> Backend:
    """Return what runs a model in this process, as `EngineConfig.executor` asks.

    Raises:
        KernelError: kernels were asked for and cannot be loaded.
    """
    from .kernels.library import load_library

    kernels = None
    try:
        kernels = kernel_backend(load_library(), config.num_threads)
    except KernelError as error:
        if config.executor == "kernels":
            raise
        if config.executor == "auto":
            warnings.warn(f"{error}; falling back to the slow NumPy executor", stacklevel=2)
    if kernels is not None and config.executor != "numpy":
        return kernels
    from .numpy.logits import NumpyLogitsOps

    return Backend(None, NumpyLogitsOps(), kernels.string_kernels if kernels else None)


def kernel_backend(library: Library, n_threads: int) -> Backend:
    """Return the kernels of one library, in this process."""
    from .kernels.device import LocalDevice
    from .kernels.logits import KernelLogitsOps
    from .kernels.strings import KernelStrings

    new_device = partial(LocalDevice, library, n_threads)
    return Backend(new_device, KernelLogitsOps(library), KernelStrings(library))
