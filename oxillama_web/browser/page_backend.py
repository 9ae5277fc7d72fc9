"""What runs a model in a page: kernels on the threads of a pool, over a memory of their own."""

from __future__ import annotations

from functools import partial
from typing import Any

from ..backends.backend import Backend
from ..backends.kernels.library import load_library
from ..backends.kernels.logits import KernelLogitsOps
from ..backends.kernels.strings import KernelStrings
from ..backends.kernels.wasm import WasmDevice


def page_backend(pool: Any) -> Backend:
    """Return the kernels of a page.

    Logits and strings are in Python's memory, so the same kernels are opened over that, too.

    Args:
        pool: the KernelPool of web/kernels/pool.js.

    Raises:
        KernelError: the kernels cannot be loaded.
    """
    library = load_library(pool.variant)
    new_device = partial(WasmDevice, pool)
    return Backend(new_device, KernelLogitsOps(library), KernelStrings(library))
