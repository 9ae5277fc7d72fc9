"""Makes Q8_0 and Q4_0 files from a Q4_1 file with llama.cpp, for timing only (quality suffers).

build/bench/venv/bin/python -m bench.requantize model.Q4_1.gguf [directory]
"""

from __future__ import annotations

import ctypes
import sys
from pathlib import Path

FORMATS = ("Q8_0", "Q4_0")


def requantize(source: Path, directory: Path) -> list[Path]:
    """Write one file a format beside the others in ``directory``; keep those that exist."""
    stem = source.name.removesuffix(".gguf").removesuffix(".Q4_1")
    targets = [directory / f"{stem}.{name}.gguf" for name in FORMATS]
    for name, target in zip(FORMATS, targets, strict=True):
        if not target.exists():
            _quantize(source, target, name)
    return targets


def _quantize(source: Path, target: Path, name: str) -> None:
    import llama_cpp

    params = llama_cpp.llama_model_quantize_default_params()
    params.ftype = getattr(llama_cpp, f"LLAMA_FTYPE_MOSTLY_{name}")
    params.allow_requantize = True
    partial = target.with_suffix(".partial")
    failed = llama_cpp.llama_model_quantize(
        str(source).encode(), str(partial).encode(), ctypes.byref(params)
    )
    if failed:
        raise SystemExit(f"llama.cpp could not requantize {source} to {name}")
    partial.rename(target)


def main() -> int:
    """Requantize the file named on the command line."""
    source = Path(sys.argv[1])
    directory = Path(sys.argv[2]) if len(sys.argv) > 2 else source.parent
    directory.mkdir(parents=True, exist_ok=True)
    for target in requantize(source, directory):
        print(target)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
