"""Builds the kernel libraries, one for each instruction set, from the same C sources.

    python kernels_c/build.py native [--out DIR] [--isa NAME]... [--sanitizer NAME]
    python kernels_c/build.py wasm --out DIR
    python kernels_c/build.py pool --out DIR
    python kernels_c/build.py arm --out DIR

`native` writes libox-<isa> shared libraries into oxillama_web/kernels/, with the first of $CC, gcc,
cc, clang and ziglang's clang that is installed. The others use ziglang from PyPI:

- `wasm` writes libox-<isa>.so for each of WASM_ISAS, side modules that Pyodide opens with ctypes.
- `pool` writes the same kernels as standalone modules that import their memory: a shared one,
  ox-shared-<isa>.wasm, for a pool of workers, or one for a single thread, ox-single-<isa>.wasm; and
  ox-checksum.wasm, which has a memory of its own and nothing but the checksum.
- `arm` writes what `native` writes on 64-bit Arm with Linux.

A library whose sources and flags have not changed is left alone.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import platform
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

SOURCES = Path(__file__).resolve().parent
KERNELS = SOURCES.parent / "oxillama_web" / "kernels"
SANITIZED = SOURCES.parent / "build" / "sanitize"
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
    return [_build_native_library(out, name, known[name], sanitizer) for name in names]


def build_wasm(out: Path) -> list[Path]:
    """Build the side modules for Pyodide and return their paths. Raises BuildError."""
    # Node 20 rejects extended constant expressions, which would relocate tables of addresses
    compile_flags = ["--target=wasm32-emscripten", "-fPIC", "-mno-extended-const"]
    link_flags = ["-shared", "--experimental-pic", "--export-dynamic"]
    return [
        _build_wasm_library(out / f"libox-{name}.so", [*compile_flags, *flags], link_flags)
        for name, flags in WASM_ISAS.items()
    ]


def build_arm(out: Path) -> list[Path]:
    """Build the libraries for 64-bit Arm with Linux and return their paths. Raises BuildError.

    They are not linked with a C library: the process that opens them has one.
    """
    compile_command = [*zig("cc"), "--target=aarch64-linux-gnu", *COMMON_FLAGS, "-fPIC", "-pthread"]
    link_command = [*zig("ld.lld"), "-shared", "--strip-all"]
    return [
        _build_from_objects(
            out / f"libox-{name}.so", [*compile_command, *_zig_flags(flags)], link_command
        )
        for name, flags in NATIVE_ISAS["arm64"].items()
    ]


def build_pool(out: Path) -> list[Path]:
    """Build the standalone modules and return their paths. Raises BuildError.

    All but the checksum's import a memory, shared or not. Each instance over a shared memory must
    set a __stack_pointer of its own before it enters a kernel.
    """
    compile_flags = ["--target=wasm32-freestanding"]
    link_flags = "--no-entry --export-dynamic --export=__heap_base --stack-first -z".split()
    link_flags.append(f"stack-size={POOL_STACK_BYTES}")
    checksum = _build_wasm_library(
        out / "ox-checksum.wasm", compile_flags, link_flags, [SOURCES / "text" / "checksum.c"]
    )
    link_flags += ["--export=__stack_pointer", "--import-memory", "--max-memory=4294967296"]
    kinds = {"shared": (["-matomics"], ["--shared-memory"]), "single": ([], [])}
    return [
        checksum,
        *(
            _build_wasm_library(
                out / f"ox-{kind}-{name}.wasm",
                [*compile_flags, *more_compile_flags, *flags],
                [*link_flags, *more_link_flags],
            )
            for kind, (more_compile_flags, more_link_flags) in kinds.items()
            for name, flags in WASM_ISAS.items()
        ),
    ]


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
    for name in (os.environ.get("CC"), "gcc", "cc", "clang"):
        if name and shutil.which(name.split()[0]):
            return name.split()
    return zig("cc")


def zig(tool: str) -> list[str]:
    """Return the command of one of ziglang's tools. Raises BuildError."""
    command = [sys.executable, "-m", "ziglang"]
    if subprocess.run([*command, "version"], capture_output=True, check=False).returncode:
        raise BuildError(f"a C compiler is missing; to get one: python -m pip install {ZIG}")
    return [*command, tool]


def _zig_flags(flags: list[str]) -> list[str]:
    """Return the flags of gcc and clang under zig's names."""
    return [ZIG_NAMES.get(flag, flag) for flag in flags]


def _build_native_library(out: Path, isa: str, flags: list[str], sanitizer: str) -> Path:
    suffix = (f"-{sanitizer}" if sanitizer else "") + library_suffix()
    target = out / f"libox-{isa}{suffix}"
    compiler = find_compiler()
    if "ziglang" in compiler:
        flags = _zig_flags(flags)
    command = [*compiler, *COMMON_FLAGS, *flags, *SANITIZE_FLAGS.get(sanitizer, [])]
    if sys.platform != "win32":
        command += ["-fPIC", "-pthread"]
    command += ["-shared", *map(str, _c_files())]
    with _Stamp(target, command) as stamp:
        if stamp.stale:
            _run([*command, "-o", str(stamp.target)])
    return target


def _build_wasm_library(
    target: Path,
    compile_flags: list[str],
    link_flags: list[str],
    sources: list[Path] | None = None,
) -> Path:
    freestanding = ["-O3", "-ffreestanding", "-mbulk-memory", "-mnontrapping-fptoint"]
    compile_command = [*zig("cc"), *COMMON_FLAGS, *freestanding, *compile_flags]
    link_command = [*zig("wasm-ld"), *link_flags, "--strip-all"]
    return _build_from_objects(target, compile_command, link_command, sources)


def _build_from_objects(
    target: Path,
    compile_command: list[str],
    link_command: list[str],
    sources: list[Path] | None = None,
) -> Path:
    with (
        _Stamp(target, compile_command + link_command) as stamp,
        tempfile.TemporaryDirectory() as d,
    ):
        if stamp.stale:
            objects = {
                source: str(Path(d) / f"{source.stem}.o") for source in sources or _c_files()
            }
            commands = [[*compile_command, "-c", str(c), "-o", o] for c, o in objects.items()]
            with ThreadPoolExecutor(os.cpu_count()) as compilers:
                list(compilers.map(_run, commands))
            _run([*link_command, *objects.values(), "-o", str(stamp.target)])
    return target


def _c_files() -> list[Path]:
    return sorted(SOURCES.rglob("*.c"))


class _Stamp:
    """Records beside a library what it was built from, and replaces the library at once."""

    def __init__(self, target: Path, command: list[str]) -> None:
        digest = hashlib.sha256("\0".join(command).encode())
        for path in sorted(SOURCES.rglob("*.[ch]")):
            digest.update(str(path.relative_to(SOURCES)).encode() + b"\0" + path.read_bytes())
        self._digest = digest.hexdigest()
        self._final = target
        self._file = target.with_name(f".{target.name}.stamp")
        self.target = target.with_name(f".{target.name}.{os.getpid()}.tmp")
        self.stale = not (
            target.exists() and self._file.exists() and self._file.read_text() == self._digest
        )

    def __enter__(self) -> _Stamp:
        self._final.parent.mkdir(parents=True, exist_ok=True)
        return self

    def __exit__(self, failure: type[BaseException] | None, *_: object) -> None:
        if failure is None and self.stale:
            self.target.replace(self._final)
            self._file.write_text(self._digest)
        self.target.unlink(missing_ok=True)


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
