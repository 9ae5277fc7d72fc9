"""A model in a page within a memory budget: read from a file of the device, part by part."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ..backends import paged_kernel_executor
from ..backends.kernels.library import load_library
from ..backends.kernels.logits import KernelLogitsOps
from ..backends.kernels.paging import LayerPager, segmented
from ..backends.kernels.strings import KernelStrings
from ..backends.kernels.wasm import WasmDevice
from ..backends.offload import OffloadPolicy
from ..engine import InferenceEngine
from ..errors import ModelFormatError
from ..gguf.fingerprint import sample
from ..gguf.reader import try_parse_header
from ..inference.loading import load_with_executor

if TYPE_CHECKING:
    from ..backends.kernels.device import Block
    from ..config import EngineConfig
    from ..gguf.reader import GGUFFile
    from ..gguf.strings import StringKernels

_FIRST_PREFIX_BYTES = 8 << 20


class DeviceFile:
    """A `WeightSource` that JavaScript reads.

    Args:
        file: the PagedFile of web/paged_file.js.
    """

    def __init__(self, file: Any) -> None:
        self._file = file

    def read_into(self, block: Block, at: int, offset: int, n_bytes: int) -> None:
        """See `WeightSource.read_into`."""
        self._file.readInto(block.address + at, offset, n_bytes)

    def read(self, offset: int, n_bytes: int) -> memoryview:
        """A copy of a part."""
        return memoryview(self._file.read(offset, n_bytes).to_bytes())


def open_paged(
    pool: Any, file: Any, ram_bytes: int, config: EngineConfig, tokenizer_json: str | None
) -> InferenceEngine:
    """The engine for a file that is larger than the memory its weights may take.

    Args:
        pool: the KernelPool of web/kernel_pool.js.
        file: a PagedFile of web/paged_file.js.
        ram_bytes: most bytes of weights that are in memory at a time.
        tokenizer_json: a Hugging Face tokenizer.json; None uses the vocabulary in the file.

    Raises:
        ModelFormatError, UnsupportedModelError, TokenizerError: what the file holds is wrong.
        OutOfMemoryError: the budget is too small for the model.
    """
    source, n_total = DeviceFile(file), int(file.size)
    pager = LayerPager(OffloadPolicy.budget(ram_bytes))
    device, library = WasmDevice(pool), load_library(pool.variant)
    model = load_with_executor(
        _read_header(source, n_total, KernelStrings(library)),
        tokenizer_json,
        None,
        config,
        lambda plan: paged_kernel_executor(
            segmented(plan, pager.policy), config, device, source, pager
        ),
        KernelLogitsOps(library),
        lambda: [sample(info, source.read) for info in model.plan.weights.values()],
    )
    model.pager = pager
    engine = InferenceEngine(config)
    engine.use_model(model)
    return engine


def _read_header(source: DeviceFile, n_total: int, string_kernels: StringKernels) -> GGUFFile:
    n_prefix = min(_FIRST_PREFIX_BYTES, n_total)
    while (
        gguf := try_parse_header(source.read(0, n_prefix), n_total, source.read, string_kernels)
    ) is None:
        if n_prefix == n_total:
            raise ModelFormatError("the model file ends inside of its header")
        n_prefix = min(2 * n_prefix, n_total)
    return gguf
