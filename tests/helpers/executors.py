"""Executors of a model file, without an engine."""

from __future__ import annotations

from oxillama_web.architectures import build_model
from oxillama_web.backends.api import Executor
from oxillama_web.backends.backend import kernel_backend
from oxillama_web.backends.kernels.library import Library, load_library
from oxillama_web.backends.numpy.executor import NumpyExecutor
from oxillama_web.config import KVCacheType
from oxillama_web.gguf.reader import GGUFFile
from oxillama_web.gguf.source import MemorySource
from oxillama_web.plan.plan import Plan


def numpy_executor(model: GGUFFile, plan: Plan | None = None) -> Executor:
    """`plan`: None is the model's own."""
    return NumpyExecutor(plan or build_model(model)[1], MemorySource(model.buffer))


def kernel_executor(
    model: GGUFFile,
    library: Library | str | None = None,
    n_threads: int = 2,
    kv_cache_type: KVCacheType = "f16",
    plan: Plan | None = None,
) -> Executor:
    """`library`: an opened one, or the name of one; None is the best."""
    if not isinstance(library, Library):
        library = load_library(library)
    backend = kernel_backend(library, n_threads)
    plan = plan or build_model(model)[1]
    return backend.create_executor(plan, MemorySource(model.buffer), kv_cache_type)
