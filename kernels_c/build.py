"""Builds the kernel libraries, one for each instruction set, from the same C sources.

    python kernels_c/build.py native [--out DIR] [--isa NAME]... [--sanitizer NAME]
    python kernels_c/build.py wasm --out DIR
    python kernels_c/build.py pool --out DIR
    python kernels_c/build.py arm --out DIR

`native` writes libox-<isa> shared libraries into oxillama_web/kernels/, with the first of $CC, gcc,
cc, clang and ziglang's clang that works. The others use ziglang from PyPI:

- `wasm` writes libox-<isa>.so for each of WASM_ISAS, side modules that Pyodide opens with ctypes.
- `pool` writes the same kernels as standalone modules that import their memory: a shared one,
  ox-shared-<isa>.wasm, for a pool of workers, or one for a single thread, ox-single-<isa>.wasm; and
  ox-checksum.wasm, which has a memory of its own and nothing but the checksum.
- `arm` writes what `native` writes on 64-bit Arm with Linux.

A library whose sources and flags have not changed is left alone. So are object files, which stay in
build/objects/: after an edit, only what includes the edited file is compiled again.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import platform
import re
import shutil
import subprocess
import sys
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cache
from pathlib import Path

SOURCES = Path(__file__).resolve().parent
KERNELS = SOURCES.parent / "oxillama_web" / "kernels"
SANITIZED = SOURCES.parent / "build" / "sanitize"
OBJECTS = SOURCES.parent / "build" / "objects"
ZIG = "ziglang==0.17.1"

AVX2 = ["-mavx2", "-mfma", "-mf16c"]
AVX512 = "-mavx512f -mavx512bw -mavx512dq -mavx512vl -mavx512vnni".split()
NATIVE_ISAS = {
    "x86_64": {
        "portable": ["-O2"],
        "avx2": ["-O3", *AVX2],
        "avx512": ["-O3", *AVX2, *AVX512, "-mprefer-vector-width=512"],
    },
    "arm64": {"portable": ["-O2"], "neon": ["-O3", "-march=armv8.2-a+dotprod"]},
    "other": {"portable": ["-O2"]},
}
ZIG_NAMES = {"-march=armv8.2-a+dotprod": "-mcpu=generic+v8_2a+dotprod"}
RELAXED = ["-msimd128", "-mrelaxed-simd"]
WASM_ISAS = {
    "simd128": ["-msimd128"],
    "relaxed": RELAXED,
    "relaxed-pairs": [*RELAXED, "-DOX_DOT_PAIRS"],
}

# Progress is told so often, in files.
_TELL_EVERY = 25

POOL_STACK_BYTES = 1 << 17

# Products and sums are fused only where the sources say so: every compiler gives the same results.
COMMON_FLAGS = [
    *"-std=c11 -g0 -fvisibility=hidden -ffp-contract=off -fno-math-errno -Wall -Wextra".split(),
    f"-I{SOURCES}",
]
# Reports have line numbers, but no variables: to write those takes gcc half of its time.
SANITIZE_FLAGS = {
    "sanitize": (
        "-O2 -g1 -fsanitize=address,undefined -fno-sanitize-recover=all -fno-omit-frame-pointer"
    ).split(),
    "races": ["-O1", "-g1", "-fsanitize=thread"],
}


class BuildError(Exception):
    """A compiler is missing or has failed."""


def build_native(
    out: Path | None = None, isas: Iterable[str] | None = None, sanitizer: str = ""
) -> list[Path]:
    """Build the libraries for this machine and return their paths.

    Args:
        out: the folder; by default the package's, or build/sanitize/.
        isas: keys of NATIVE_ISAS; by default all for this processor's family.
        sanitizer: a key of SANITIZE_FLAGS, which becomes part of the name: libox-<isa>-sanitize has
            AddressSanitizer and UndefinedBehaviorSanitizer, libox-<isa>-races has ThreadSanitizer.

    Raises:
        BuildError: a compiler is missing or has failed, or there is no such instruction set.
    """
    out = out or (SANITIZED if sanitizer else KERNELS)
    known = NATIVE_ISAS[machine()]
    names = list(known if isas is None else isas)
    for name in names:
        if name not in known:
            raise BuildError(f"no instruction set {name!r} here; there are: {', '.join(known)}")
    return _build([_native_library(out, name, known[name], sanitizer) for name in names])


def build_wasm(out: Path) -> list[Path]:
    """Build the side modules for Pyodide and return their paths. Raises BuildError."""
    # Node 20 rejects extended constant expressions, which would relocate tables of addresses
    compile_flags = ["--target=wasm32-emscripten", "-fPIC", "-mno-extended-const"]
    link_flags = ["-shared", "--experimental-pic", "--export-dynamic"]
    return _build(
        [
            _wasm_library(out / f"libox-{name}.so", [*compile_flags, *flags], link_flags)
            for name, flags in WASM_ISAS.items()
        ]
    )


def build_arm(out: Path) -> list[Path]:
    """Build the libraries for 64-bit Arm with Linux and return their paths. Raises BuildError.

    They are not linked with a C library: the process that opens them has one.
    """
    compile_command = [*zig("cc"), "--target=aarch64-linux-gnu", *COMMON_FLAGS, "-fPIC", "-pthread"]
    link_command = [*zig("ld.lld"), "-shared", "--strip-all"]
    return _build(
        [
            _Library(
                out / f"libox-{name}.so",
                [*compile_command, *_zig_flags(flags)],
                link_command,
                _c_files(),
            )
            for name, flags in NATIVE_ISAS["arm64"].items()
        ]
    )


def build_pool(out: Path) -> list[Path]:
    """Build the standalone modules and return their paths. Raises BuildError.

    All but the checksum's import a memory, shared or not. Each instance over a shared memory must
    set a __stack_pointer of its own before it enters a kernel.
    """
    compile_flags = ["--target=wasm32-freestanding"]
    link_flags = "--no-entry --export-dynamic --export=__heap_base --stack-first -z".split()
    link_flags.append(f"stack-size={POOL_STACK_BYTES}")
    checksum = _wasm_library(
        out / "ox-checksum.wasm", compile_flags, link_flags, (SOURCES / "text" / "checksum.c",)
    )
    link_flags += ["--export=__stack_pointer", "--import-memory", "--max-memory=4294967296"]
    kinds = {"shared": (["-matomics"], ["--shared-memory"]), "single": ([], [])}
    pools = [
        _wasm_library(
            out / f"ox-{kind}-{name}.wasm",
            [*compile_flags, *more_compile_flags, *flags],
            [*link_flags, *more_link_flags],
        )
        for kind, (more_compile_flags, more_link_flags) in kinds.items()
        for name, flags in WASM_ISAS.items()
    ]
    return _build([checksum, *pools])


def machine() -> str:
    """Return the processor's family, a key of NATIVE_ISAS."""
    name = platform.machine().lower()
    if name in ("x86_64", "amd64"):
        return "x86_64"
    return "arm64" if name in ("arm64", "aarch64") else "other"


def library_suffix() -> str:
    """Return how the name of a shared library ends on this system."""
    if sys.platform == "win32":
        return ".dll"
    return ".dylib" if sys.platform == "darwin" else ".so"


def find_compiler() -> list[str]:
    """Return the command of a C compiler for this machine. Raises BuildError."""
    return installed_compiler() or zig("cc")


def installed_compiler() -> list[str] | None:
    """Return the command of a C compiler that is installed, with its headers; None without one."""
    names = (os.environ.get("CC"), "gcc", "cc", "clang")
    return next((name.split() for name in names if name and _compiles(name)), None)


@cache
def _compiles(command: str) -> bool:
    if shutil.which(command.split()[0]) is None:
        return False
    header = "stdint.h" if sys.platform == "win32" else "pthread.h"
    compiler = subprocess.run(
        [*command.split(), "-x", "c", "-fsyntax-only", "-"],
        input=f"#include <{header}>\n".encode(),
        capture_output=True,
        check=False,
    )
    return compiler.returncode == 0


def zig(tool: str) -> list[str]:
    """Return the command of one of ziglang's tools. Raises BuildError."""
    command = [sys.executable, "-m", "ziglang"]
    if subprocess.run([*command, "version"], capture_output=True, check=False).returncode:
        raise BuildError(f"a C compiler is missing; to get one: python -m pip install {ZIG}")
    return [*command, tool]


def _zig_flags(flags: list[str]) -> list[str]:
    """Return the flags of gcc and clang under zig's names."""
    return [ZIG_NAMES.get(flag, flag) for flag in flags]


@dataclass(frozen=True)
class _Library:
    """A library to build.

    Attributes:
        compile_command: makes an object file, without the names of files.
        link_command: makes the library of object files, likewise.
    """

    target: Path
    compile_command: Sequence[str]
    link_command: Sequence[str]
    sources: Sequence[Path]


def _native_library(out: Path, isa: str, flags: list[str], sanitizer: str) -> _Library:
    suffix = (f"-{sanitizer}" if sanitizer else "") + library_suffix()
    compiler = find_compiler()
    if "ziglang" in compiler:
        flags = _zig_flags(flags)
    command = [*compiler, *COMMON_FLAGS, *flags, *SANITIZE_FLAGS.get(sanitizer, [])]
    if sys.platform != "win32":
        command += ["-fPIC", "-pthread"]
    return _Library(out / f"libox-{isa}{suffix}", command, [*command, "-shared"], _c_files())


def _wasm_library(
    target: Path,
    compile_flags: list[str],
    link_flags: list[str],
    sources: Sequence[Path] | None = None,
) -> _Library:
    freestanding = ["-O3", "-ffreestanding", "-mbulk-memory", "-mnontrapping-fptoint"]
    compile_command = [*zig("cc"), *COMMON_FLAGS, *freestanding, *compile_flags]
    link_command = [*zig("wasm-ld"), *link_flags, "--strip-all"]
    return _Library(target, compile_command, link_command, sources or _c_files())


def _build(libraries: Sequence[_Library]) -> list[Path]:
    """Compile what has changed, in parallel, and link it; return the libraries' paths."""
    stamps = [
        _Stamp(each.target, [*each.compile_command, *each.link_command], each.sources)
        for each in libraries
    ]
    stale = [
        (library, stamp) for library, stamp in zip(libraries, stamps, strict=True) if stamp.is_stale
    ]
    steps = {object_file: step for library, _ in stale for object_file, step in _objects(library)}
    waiting = {target: step for target, step in steps.items() if step[0].is_stale}
    with ThreadPoolExecutor(os.cpu_count()) as compilers:
        made = compilers.map(lambda step: step[0].make(step[1]), waiting.values())
        for number, _ in enumerate(made, 1):
            if number % _TELL_EVERY == 0 or number == len(waiting):
                print(f"compiled {number} of {len(waiting)} files", file=sys.stderr, flush=True)
        list(compilers.map(_link, *zip(*stale, strict=True) if stale else ((), ())))
    return [each.target for each in libraries]


def _objects(library: _Library) -> list[tuple[Path, tuple[_Stamp, list[str]]]]:
    """Return the library's object files, each with its stamp and the command that makes it."""
    folder = OBJECTS / _digest(library.compile_command, [])[:16]
    found = []
    for source in library.sources:
        target = folder / f"{'-'.join(source.relative_to(SOURCES).with_suffix('').parts)}.o"
        stamp = _Stamp(target, library.compile_command, [source])
        found.append((target, (stamp, [*library.compile_command, "-c", str(source)])))
    return found


def _link(library: _Library, stamp: _Stamp) -> None:
    stamp.make([*library.link_command, *(str(target) for target, _ in _objects(library))])


def _c_files() -> list[Path]:
    return sorted(SOURCES.rglob("*.c"))


class _Stamp:
    """Records beside a file what it was made from, and replaces the file at once."""

    def __init__(self, target: Path, command: Sequence[str], sources: Sequence[Path]) -> None:
        """Look whether `target` is what the command makes of C files and what they include."""
        self._target = target
        self._digest = _digest(command, sources)
        self._file = target.with_name(f".{target.name}.stamp")
        self.is_stale = not (
            target.exists() and self._file.exists() and self._file.read_text() == self._digest
        )

    def make(self, command: Sequence[str]) -> None:
        """Run a command, which gets the name of its output, and record it. Raises BuildError."""
        self._target.parent.mkdir(parents=True, exist_ok=True)
        unfinished = self._target.with_name(f".{self._target.name}.{os.getpid()}.tmp")
        try:
            _run([*command, "-o", str(unfinished)])
            unfinished.replace(self._target)
            self._file.write_text(self._digest)
        finally:
            unfinished.unlink(missing_ok=True)


def _digest(command: Sequence[str], sources: Sequence[Path]) -> str:
    """Return a key of a command, C files, and all files of ours that they include."""
    digest = hashlib.sha256("\0".join(command).encode())
    files = set(sources)
    left = list(sources)
    while left:
        included = _included(left.pop()) - files
        files |= included
        left += included
    for path in sorted(files):
        digest.update(str(path.relative_to(SOURCES)).encode() + b"\0" + path.read_bytes())
    return digest.hexdigest()


def _included(path: Path) -> set[Path]:
    names = re.findall(r'^\s*#\s*include\s*"([^"]+)"', path.read_text("utf-8"), re.MULTILINE)
    folders = (path.parent, SOURCES)
    return {folder / name for name in names for folder in folders if (folder / name).is_file()}


def _run(command: list[str]) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise BuildError(f"{' '.join(command)}\n{done.stderr}")
    if done.stderr:
        print(done.stderr, file=sys.stderr)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("target", choices=["native", "wasm", "pool", "arm"])
    parser.add_argument("--out", type=Path, help="directory for the libraries")
    parser.add_argument("--isa", action="append", help="native: only this instruction set")
    parser.add_argument("--sanitizer", choices=SANITIZE_FLAGS, default="", help="native")
    arguments = parser.parse_args()
    try:
        if arguments.target == "native":
            built = build_native(arguments.out, arguments.isa, arguments.sanitizer)
        elif arguments.out is None:
            parser.error("--out is needed")
        else:
            builds = {"wasm": build_wasm, "pool": build_pool, "arm": build_arm}
            built = builds[arguments.target](arguments.out)
    except BuildError as error:
        print(error, file=sys.stderr)
        return 1
    for path in built:
        print(path)
    return 0


if __name__ == "__main__":
    sys.exit(main())
