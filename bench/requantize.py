"""Makes Q8_0 and Q4_0 files of SmolLM2 with llama.cpp, for timing only: quality suffers.

build/bench/venv/bin/python -m bench.requantize
"""

from __future__ import annotations

import ctypes
from importlib import import_module
from pathlib import Path
from typing import Any

from bench.models import REQUANTIZED, find_model
from oxillama_web.hub.models import cache_directory

SOURCE = "smollm2-135m-instruct"


def main() -> int:
    """Write the files that are missing into the cache of models."""
    for file in REQUANTIZED.values():
        target = cache_directory() / file
        if not target.exists():
            _quantize(find_model(SOURCE), target, target.suffixes[-2].removeprefix("."))
        print(target)
    return 0


def _quantize(source: Path, target: Path, format_name: str) -> None:
    llama_cpp: Any = import_module("llama_cpp")
    params = llama_cpp.llama_model_quantize_default_params()
    params.ftype = getattr(llama_cpp, f"LLAMA_FTYPE_MOSTLY_{format_name}")
    params.allow_requantize = True
    partial = target.with_suffix(".partial")
    failed = llama_cpp.llama_model_quantize(
        str(source).encode(), str(partial).encode(), ctypes.byref(params)
    )
    if failed:
        raise SystemExit(f"llama.cpp could not requantize {source} to {format_name}")
    partial.rename(target)


if __name__ == "__main__":
    raise SystemExit(main())
