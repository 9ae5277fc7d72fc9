"""Streaming load: a model is laid out and packed in the kernels' memory while it arrives."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ..engine import InferenceEngine
from ..gguf.source import ModelSource, NotHereYetError
from ..inference.loading import load_model
from .page_backend import page_backend

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ..config import EngineConfig
    from ..inference.model import LoadedModel


class ArrivingSource(ModelSource):
    """A model that JavaScript writes into the memory of a pool.

    Args:
        pool: the KernelPool of web/kernels/pool.js.
    """

    def __init__(self, pool: Any) -> None:
        self.n_bytes = self.n_received = 0
        self._pool = pool

    def arrive(self, address: int, n_received: int, n_bytes: int, starts: Sequence[int]) -> None:
        """Note that the first `n_received` bytes are in memory, from `address` on."""
        self.address, self.starts = address, starts
        self.n_received, self.n_bytes = n_received, n_bytes

    def read(self, offset: int, n_bytes: int) -> memoryview:
        """See `ModelSource.read`: a copy."""
        assert self.address is not None
        if offset + n_bytes > self.n_received:
            raise NotHereYetError(offset + n_bytes)
        return memoryview(self._pool.view(self.address + offset, n_bytes).to_bytes())


class ArrivingModel:
    """The engine for a model whose bytes someone else writes into a pool's memory.

    Args:
        pool: the KernelPool of web/kernels/pool.js.
        tokenizer_json: a Hugging Face tokenizer.json; None uses the vocabulary in the file.

    Attributes:
        engine: has the model as soon as its header has arrived, and can run it once all of its
            bytes have.
    """

    def __init__(self, pool: Any, config: EngineConfig, tokenizer_json: str | None) -> None:
        self.engine = InferenceEngine(config)
        self._config = config
        self._tokenizer_json = tokenizer_json
        # opens the kernels while the first bytes are on their way
        self._backend = page_backend(pool)
        self._source = ArrivingSource(pool)
        self._model: LoadedModel | None = None
        self._needed = self._source.header_bytes

    def receive(
        self, address: int, n_received: int, n_total: int, starts: Sequence[int] = (0,)
    ) -> int:
        """Go on as far as the model's first `n_received` of `n_total` bytes allow.

        Args:
            address: where the first byte is.
            starts: where each file of the model begins, if there are several.

        Returns:
            How many bytes must be there before another call makes sense; `n_total` when only the
            end is left.

        Raises:
            ModelFormatError, UnsupportedModelError, TokenizerError: what the file holds is wrong,
                as soon as it shows.
            OutOfMemoryError: there is no room beside the model.
        """
        self._source.arrive(address, n_received, n_total, starts)
        if self._model is None and n_received >= min(self._needed, n_total):
            self._open()
        if self._model is None:
            return min(self._needed, n_total)
        needed = self._model.receive(n_received)
        return n_total if needed is None else needed

    def _open(self) -> None:
        """Parse the headers and make the engine ready, if enough is here."""
        try:
            model = load_model(
                self._source, self._config, self._tokenizer_json, backend=self._backend
            )
        except NotHereYetError as missing:
            self._needed = missing.end
            return
        self.engine.use_model(model)
        self._model = model
