"""Turns the package's pure Python wheel into the one for browsers: it adds kernels and tags.

    python tools/make_wheel.py --kernels build/kernels --out dist package.whl

The same inputs give the same bytes: entries are sorted and carry one fixed date.
"""

from __future__ import annotations

import argparse
import base64
import hashlib
import sys
import zipfile
from pathlib import Path

TAG = "py3-none-pyodide_2024_0_wasm32.pyemscripten_2026_0_wasm32"
# Pyodide opens every .so of a wheel as soon as it is installed, and would fail on relaxed SIMD
# where the browser has none: in the wheel the libraries are called .wasm.
LIBRARIES = ("libox-simd128", "libox-relaxed", "libox-relaxed-pairs")
KERNEL_FOLDER = "oxillama_web/kernels/"
DATE = (2020, 1, 1, 0, 0, 0)


def make_wheel(base: Path, kernels: Path, out: Path) -> Path:
    """Writes the browser wheel into folder `out` and returns its path.

    Raises:
        SystemExit: a kernel library is missing, or `base` is no wheel of this package.
    """
    files = read_wheel(base)
    for name in LIBRARIES:
        library = kernels / f"{name}.so"
        if not library.is_file():
            raise SystemExit(f"{library} is missing; build the kernels first")
        files[f"{KERNEL_FOLDER}{name}.wasm"] = library.read_bytes()
    info = next((name.split("/")[0] for name in files if name.endswith(".dist-info/WHEEL")), None)
    if info is None:
        raise SystemExit(f"{base} is not a wheel: it has no WHEEL file")
    files[f"{info}/WHEEL"] = wheel_file().encode()
    files.pop(f"{info}/RECORD", None)
    files[f"{info}/RECORD"] = record(files, f"{info}/RECORD").encode()
    name_and_version = info.removesuffix(".dist-info")
    path = out / f"{name_and_version}-{TAG}.whl"
    out.mkdir(parents=True, exist_ok=True)
    write_zip(path, files)
    return path


def read_wheel(path: Path) -> dict[str, bytes]:
    """The wheel's files, without the libraries of the machine that built it."""
    with zipfile.ZipFile(path) as wheel:
        return {
            name: wheel.read(name)
            for name in wheel.namelist()
            if not name.endswith("/") and not name.startswith(KERNEL_FOLDER)
        }


def wheel_file() -> str:
    """The WHEEL file: one line for each tag that the file's name joins with a dot."""
    python, abi, platforms = TAG.split("-")
    tags = "".join(f"Tag: {python}-{abi}-{platform}\n" for platform in platforms.split("."))
    return f"Wheel-Version: 1.0\nGenerator: oxillama_web\nRoot-Is-Purelib: false\n{tags}"


def record(files: dict[str, bytes], own_name: str) -> str:
    """The RECORD file: each file's hash and size (PEP 427)."""
    lines = []
    for name, data in sorted(files.items()):
        digest = base64.urlsafe_b64encode(hashlib.sha256(data).digest()).rstrip(b"=").decode()
        lines.append(f"{name},sha256={digest},{len(data)}\n")
    return "".join(lines) + f"{own_name},,\n"


def write_zip(path: Path, files: dict[str, bytes]) -> None:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as wheel:
        for name, data in sorted(files.items()):
            entry = zipfile.ZipInfo(name, DATE)
            entry.compress_type = zipfile.ZIP_DEFLATED
            entry.external_attr = 0o644 << 16
            wheel.writestr(entry, data)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("base", type=Path, help="the pure Python wheel")
    parser.add_argument("--kernels", type=Path, required=True, help="folder of the libraries")
    parser.add_argument("--out", type=Path, required=True, help="folder to write to")
    arguments = parser.parse_args()
    print(make_wheel(arguments.base, arguments.kernels, arguments.out))
    return 0


if __name__ == "__main__":
    sys.exit(main())
