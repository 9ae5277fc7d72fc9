"""What runs a plan: the C kernels, or NumPy as the reference and the fallback."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING

from ..errors import KernelError

if TYPE_CHECKING:
    from ..config import EngineConfig
    from ..gguf.reader import GGUFFile
    from ..gguf.strings import StringKernels
    from ..plan.operations import Plan
    from .api import Executor
    from .kernels.device import Device
    from .kernels.library import Library
    from .kernels.paging import LayerPager, WeightSource
    from .logits import LogitsOps


def create_executor(plan: Plan, gguf: GGUFFile, config: EngineConfig, *, consume: bool) -> Executor:
    """The executor that the configuration asks for, with the plan's weights loaded.

    Args:
        consume: the file's buffer is writable and handed over: weights may be rearranged in it.

    Raises:
        KernelError: kernels were asked for and cannot be loaded.
        UnsupportedModelError: a tensor's format has no kernel.
        OutOfMemoryError: the weights do not fit.
    """
    if config.executor != "numpy":
        from .kernels.library import load_library

        try:
            library = load_library()
        except KernelError as error:
            if config.executor == "kernels":
                raise
            warnings.warn(f"{error}; falling back to the slow NumPy executor", stacklevel=2)
        else:
            return kernel_executor(plan, gguf, config, library, consume=consume)
    from .numpy.executor import NumpyExecutor

    return NumpyExecutor(plan, gguf)


def create_logits_ops(config: EngineConfig) -> LogitsOps:
    """Return what works on logits: the kernels, or NumPy where they cannot be loaded.

    Raises:
        KernelError: kernels were asked for and cannot be loaded.
    """
    if config.executor != "numpy":
        from .kernels.library import load_library
        from .kernels.logits import KernelLogitsOps

        try:
            return KernelLogitsOps(load_library())
        except KernelError:
            if config.executor == "kernels":
                raise
    from .numpy.logits import NumpyLogitsOps

    return NumpyLogitsOps()


def create_string_kernels() -> StringKernels | None:
    """Return what reads the strings of a vocabulary faster, if kernels can be loaded."""
    from .kernels.library import load_library
    from .kernels.strings import KernelStrings

    try:
        return KernelStrings(load_library())
    except KernelError:
        return None


def paged_executor(
    plan: Plan, gguf: GGUFFile, config: EngineConfig, source: WeightSource, pager: LayerPager
) -> Executor:
    """An executor that holds no more weights than the pager's policy allows.

    Raises:
        KernelError, UnsupportedModelError: as `create_executor`.
        OutOfMemoryError: the budget is too small for the model.
        OSError: the file cannot be read.
    """
    from .kernels.paging import segmented

    plan = segmented(plan, pager.policy)
    if config.executor == "numpy":
        from .numpy.executor import NumpyExecutor

        return NumpyExecutor(plan, gguf, pager)
    from .kernels.device import LocalDevice
    from .kernels.library import load_library

    return paged_kernel_executor(
        plan, config, LocalDevice(load_library(), config.num_threads), source, pager
    )


def paged_kernel_executor(
    plan: Plan, config: EngineConfig, device: Device, source: WeightSource, pager: LayerPager
) -> Executor:
    """As `paged_executor`, with a device; the plan is a `segmented` one."""
    from .kernels.executor import KernelExecutor
    from .kernels.paging import PagedProgram, PagedWeights

    weights = PagedWeights(device, plan, source, pager)
    return KernelExecutor(plan, config, device, weights, PagedProgram)


def kernel_executor(
    plan: Plan, gguf: GGUFFile, config: EngineConfig, library: Library, *, consume: bool
) -> Executor:
    """The executor for one kernel library in this process; as `create_executor`."""
    from .kernels.device import LocalDevice
    from .kernels.executor import KernelExecutor
    from .kernels.weights import weights_in_process

    device = LocalDevice(library, config.num_threads)
    weights = weights_in_process(plan, gguf, device, consume=consume)
    return KernelExecutor(plan, config, device, weights)
