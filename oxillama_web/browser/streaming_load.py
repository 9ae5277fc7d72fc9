"""A model file on its way into the kernels' memory: laid out and packed while it arrives."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING, Any

from ..backends.kernels.executor import KernelExecutor
from ..backends.kernels.library import load_library
from ..backends.kernels.logits import KernelLogitsOps
from ..backends.kernels.strings import KernelStrings
from ..backends.kernels.wasm import WasmDevice
from ..backends.kernels.weights import Weights
from ..engine import InferenceEngine
from ..gguf.fingerprint import sample
from ..gguf.reader import try_parse_header
from ..gguf.shards import merge
from ..inference.loading import load_with_executor

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ..config import EngineConfig
    from ..gguf.reader import GGUFFile, ReadBytes, TensorInfo
    from ..gguf.strings import StringKernels
    from ..plan.operations import Plan

# Python gets a copy of the header, and its memory never shrinks: the first try is of so many bytes,
# each later one of twice as many.
_FIRST_PREFIX_BYTES = 1 << 20


class ArrivingModel:
    """The engine for a model whose bytes someone else writes into a pool's memory.

    Args:
        pool: the KernelPool of web/kernel_pool.js.
        tokenizer_json: a Hugging Face tokenizer.json; None uses the vocabulary in the file.
    """

    def __init__(self, pool: Any, config: EngineConfig, tokenizer_json: str | None) -> None:
        self.engine = InferenceEngine(config)
        self._pool = pool
        # now, while the model is on its way; it reads the header, too
        library = load_library(pool.variant)
        self._logits_ops, self._string_kernels = KernelLogitsOps(library), KernelStrings(library)
        self._config = config
        self._tokenizer_json = tokenizer_json
        self._weights: Weights | None = None
        self._samples: dict[str, bytes] = {}
        # the next weight to take a sample of stands last
        self._unsampled: list[TensorInfo] = []
        self._needed = _FIRST_PREFIX_BYTES

    def receive(
        self, address: int, n_received: int, n_total: int, starts: Sequence[int] = (0,)
    ) -> int:
        """Goes on as far as the file's first `n_received` of `n_total` bytes, at `address`, allow.

        Args:
            starts: of a model in several files: where each begins, behind `address`.

        Returns:
            How many bytes must be there before another call makes sense; `n_total` when only the
            end is left.

        Raises:
            ModelFormatError, UnsupportedModelError, TokenizerError: what the file holds is wrong,
                as soon as it shows.
            OutOfMemoryError: there is no room beside the model.
        """
        if self._weights is None and n_received >= min(self._needed, n_total):
            self._open(address, n_received, [*starts, n_total])
        if self._weights is None:
            return min(self._needed, n_total)
        # of the file's bytes: packing moves them
        self._take_samples(address, n_received)
        needed = self._weights.pack(n_received)
        return n_total if needed is None else needed

    def _open(self, address: int, n_received: int, bounds: Sequence[int]) -> None:
        """Parses the headers and makes the engine ready, if enough is here."""

        def read(offset: int, n_bytes: int) -> memoryview:
            if offset + n_bytes > n_received:
                raise _NotHereYetError(offset + n_bytes)
            return memoryview(self._pool.view(address + offset, n_bytes).to_bytes())

        parts: list[GGUFFile] = []
        for start, end in pairwise(bounds):
            part = _try_header(read, start, min(end, n_received), end, self._string_kernels)
            if part is None:
                n_prefix = max(n_received - start, 0)
                self._needed = start + max(2 * n_prefix, _FIRST_PREFIX_BYTES)
                return
            parts.append(part)
        try:
            model = load_with_executor(
                merge(parts, bounds),
                self._tokenizer_json,
                None,
                self._config,
                lambda plan: self._executor(plan, address),
                self._logits_ops,
                lambda: [self._samples[name] for name in self.engine._model.plan.weights],
            )
        except _NotHereYetError as missing:
            self._needed = missing.end
        else:
            self.engine.use_model(model)

    def _executor(self, plan: Plan, address: int) -> KernelExecutor:
        device = WasmDevice(self._pool)
        infos = list(plan.weights.values())
        addresses = [address + info.offset for info in infos]
        weights = Weights(device, plan, addresses, None)
        executor = KernelExecutor(plan, self._config, device, weights)
        self._weights = weights
        self._unsampled = sorted(infos, key=_end, reverse=True)
        return executor

    def _take_samples(self, address: int, n_received: int) -> None:
        def read(offset: int, n_bytes: int) -> bytes:
            return bytes(self._pool.view(address + offset, n_bytes).to_bytes())

        while self._unsampled and _end(self._unsampled[-1]) <= n_received:
            info = self._unsampled.pop()
            self._samples[info.name] = sample(info, read)


def _end(info: TensorInfo) -> int:
    return info.offset + info.nbytes


def _try_header(
    read: ReadBytes, start: int, n_received: int, end: int, string_kernels: StringKernels
) -> GGUFFile | None:
    """The header of the file at `start`, if enough of it is here."""
    part, n_prefix = None, 0
    while part is None and start + n_prefix < n_received:
        n_prefix = min(max(2 * n_prefix, _FIRST_PREFIX_BYTES), n_received - start)
        part = try_parse_header(read(start, n_prefix), end - start, read, string_kernels)
    return part


class _NotHereYetError(Exception):
    """The engine needs the file up to byte `end`."""

    def __init__(self, end: int) -> None:
        super().__init__(end)
        self.end = end
