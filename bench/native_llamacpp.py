"""Times llama.cpp through the C API that llama-cpp-python exposes; runs in build/bench/venv.

``--flash-attention=off`` turns off what llama.cpp turns on by itself. On a processor it can make
prefill faster and decode slower, so both ways are peers.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from importlib import import_module
from typing import Any

from bench.native import Job, run_worker


class LlamaCpp:
    """One llama.cpp context and a greedy sampler."""

    def __init__(self, job: Job) -> None:
        """Load the file as llama.cpp does by default (memory-mapped), with the job's threads."""
        llama_cpp = self._api = _llama_cpp()
        self.version = f"llama-cpp-python {llama_cpp.__version__}"
        self._quiet_log = llama_cpp.llama_log_callback(lambda *_: None)
        llama_cpp.llama_log_set(self._quiet_log, None)
        llama_cpp.llama_backend_init()
        self._model = llama_cpp.llama_model_load_from_file(
            job["model"].encode(), llama_cpp.llama_model_default_params()
        )
        if not self._model:
            raise SystemExit(f"llama.cpp cannot load {job['model']}")
        self._context = llama_cpp.llama_init_from_model(self._model, _context_params(job))
        if not self._context:
            raise SystemExit("llama.cpp made no context")
        self._sampler = llama_cpp.llama_sampler_init_greedy()

    def prefill(self, tokens: Sequence[int]) -> int:
        """Process ``tokens`` in one batch from position 0 on."""
        self._api.llama_memory_clear(self._api.llama_get_memory(self._context), True)
        return self._run(tokens)

    def decode(self, token: int, position: int) -> int:
        """Process one token; llama.cpp itself counts ``position``."""
        return self._run([token])

    def _run(self, tokens: Sequence[int]) -> int:
        array = (self._api.llama_token * len(tokens))(*tokens)
        batch = self._api.llama_batch_get_one(array, len(tokens))
        if self._api.llama_decode(self._context, batch) != 0:
            raise SystemExit("llama_decode failed")
        return int(self._api.llama_sampler_sample(self._sampler, self._context, -1))


def _context_params(job: Job) -> Any:
    llama_cpp = _llama_cpp()
    params = llama_cpp.llama_context_default_params()
    params.n_ctx = job["context"]
    params.n_batch = params.n_ubatch = job["batch"]
    params.n_threads = params.n_threads_batch = job["threads"]
    if "--flash-attention=off" in sys.argv:
        params.flash_attn_type = llama_cpp.LLAMA_FLASH_ATTN_TYPE_DISABLED
    return params


def _llama_cpp() -> Any:
    """Import what only the benchmark's own environment has."""
    return import_module("llama_cpp")


if __name__ == "__main__":
    run_worker(LlamaCpp)
