"""Load within a memory budget: a page reads the model from a file of the device, in parts."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ..backends.offload import LayerPager, OffloadPolicy
from ..engine import InferenceEngine
from ..gguf.source import ModelSource
from ..inference.loading import load_model
from .page_backend import page_backend

if TYPE_CHECKING:
    from ..config import EngineConfig
    from ..gguf.source import Destination


class JsFile(ModelSource):
    """A file that JavaScript reads.

    Args:
        pool: the KernelPool into whose memory it is read.
        file: the RandomAccessFile of web/storage/random_access_file.js.
    """

    # most vocabularies fit, and reading less saves no time
    header_bytes = 8 << 20

    def __init__(self, pool: Any, file: Any) -> None:
        self.n_bytes = self.n_received = int(file.size)
        self._pool = pool
        self._file = file

    def read(self, offset: int, n_bytes: int) -> memoryview:
        """See `ModelSource.read`: a copy."""
        return memoryview(self._file.read(offset, n_bytes).to_bytes())

    def read_into(self, target: Destination, at: int, offset: int, n_bytes: int) -> None:
        """See `ModelSource.read_into`; `target` is memory of the kernels' pool."""
        self._file.readInto(self._pool, target.address + at, offset, n_bytes)


def open_paged(
    pool: Any, file: Any, ram_bytes: int, config: EngineConfig, tokenizer_json: str | None
) -> InferenceEngine:
    """Return the engine for a file that is larger than the memory its weights may take.

    Args:
        pool: the KernelPool of web/kernels/pool.js.
        file: a RandomAccessFile of web/storage/random_access_file.js.
        ram_bytes: the most bytes of weights to hold at a time.
        tokenizer_json: a Hugging Face tokenizer.json; None uses the vocabulary in the file.

    Raises:
        ModelFormatError, UnsupportedModelError, TokenizerError: what the file holds is wrong.
        OutOfMemoryError: the budget is too small for the model.
    """
    pager = LayerPager(OffloadPolicy.budget(ram_bytes))
    engine = InferenceEngine(config)
    source, backend = JsFile(pool, file), page_backend(pool)
    engine.use_model(load_model(source, config, tokenizer_json, pager=pager, backend=backend))
    return engine
