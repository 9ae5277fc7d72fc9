"""Installs pyodide-build and a cross-build environment, once, into .cache/pyodide-build.

    python tools/get_pyodide_build.py

The published cross-build environments are not on a package registry. This one is made of what npm's
`pyodide` says of itself: its versions, which is all that a wheel of pure Python needs. The kernels
are not compiled by pyodide-build, and so neither headers nor Emscripten are missing.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
FOLDER = ROOT / ".cache" / "pyodide-build"
PYODIDE = ROOT / "node_modules" / "pyodide-0.27"
REQUIREMENT = "pyodide-build==0.39.2"
NEEDED = (3, 12)
MAKEFILE = """\
export PYVERSION={python}
export PYMAJOR={major}
export PYMINOR={minor}
export PYMICRO={micro}
export PYODIDE_VERSION={version}
export PYODIDE_ABI_VERSION={abi_version}
export PYODIDE_EMSCRIPTEN_VERSION={emscripten}
export PLATFORM_TRIPLET=wasm32-emscripten
export SYSCONFIG_NAME=_sysconfigdata__emscripten_wasm32-emscripten
export CPYTHONINSTALL=$(PYODIDE_ROOT)/cpython
export PYTHONINCLUDE=$(CPYTHONINSTALL)/include
export SYSCONFIGDATA_DIR=$(CPYTHONINSTALL)/sysconfigdata
export TARGETINSTALLDIR=$(CPYTHONINSTALL)

.output_vars:
	@env
"""


def find_python() -> Path | None:
    """The newest Python here that pyodide-build runs on; None if there is none."""
    for python in _pythons():
        code = f"import sys; sys.exit(sys.version_info < {NEEDED})"
        if subprocess.run([python, "-c", code], check=False, capture_output=True).returncode == 0:
            return python
    return None


def get_pyodide_build(python: Path) -> dict[str, str]:
    """The environment variables with which `pyodide build` runs.

    Args:
        python: as `find_python` gives it.

    Raises:
        subprocess.CalledProcessError: pip or pyodide failed.
    """
    stamp = FOLDER / "complete"
    environment = {
        **os.environ,
        "PATH": f"{FOLDER / 'venv' / 'bin'}{os.pathsep}{os.environ['PATH']}",
        "PYODIDE_XBUILDENV_PATH": str(FOLDER / "xbuildenv"),
    }
    state = f"{REQUIREMENT} {PYODIDE.name} {python}"
    if not (stamp.is_file() and stamp.read_text() == state):
        shutil.rmtree(FOLDER, ignore_errors=True)
        subprocess.run([python, "-m", "venv", FOLDER / "venv"], check=True)
        pip = [FOLDER / "venv" / "bin" / "python", "-m", "pip", "install", "--quiet"]
        subprocess.run([*pip, REQUIREMENT], check=True)
        with tempfile.TemporaryDirectory() as scratch:
            archive = _write_archive(Path(scratch))
            install = ["pyodide", "xbuildenv", "install", "--url", archive.as_uri()]
            subprocess.run(install, check=True, env=environment, stdout=subprocess.DEVNULL)
        stamp.write_text(state)
    return environment


def _pythons() -> Iterator[Path]:
    names = [f"python3.{minor}" for minor in range(14, NEEDED[1] - 1, -1)]
    yield from (Path(found) for name in names if (found := shutil.which(name)))
    pyenv = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv"))
    yield from sorted(pyenv.glob("versions/3.*/bin/python"), reverse=True)


def _write_archive(folder: Path) -> Path:
    info = json.loads((PYODIDE / "pyodide-lock.json").read_text())["info"]
    major, minor, micro = info["python"].split(".")
    root = folder / "xbuildenv" / "pyodide-root"
    sysconfig = root / "cpython" / "sysconfigdata"
    sysconfig.mkdir(parents=True)
    (sysconfig / "_sysconfigdata__emscripten_wasm32-emscripten.py").write_text(
        "build_time_vars = {}\n"
    )
    (root / "dist").mkdir()
    shutil.copy(PYODIDE / "pyodide-lock.json", root / "dist")
    emscripten = info["platform"].removeprefix("emscripten_").replace("_", ".")
    versions = {"major": major, "minor": minor, "micro": micro, "emscripten": emscripten}
    (root / "Makefile.envs").write_text(MAKEFILE.format(**info, **versions))
    (folder / "xbuildenv" / "requirements.txt").touch()
    archive = folder / "xbuildenv.tar.gz"
    with tarfile.open(archive, "w:gz") as file:
        file.add(folder / "xbuildenv", "xbuildenv")
    return archive


def main() -> int:
    python = find_python()
    if python is None:
        print(f"pyodide-build needs Python {'.'.join(map(str, NEEDED))} or newer", file=sys.stderr)
        return 1
    get_pyodide_build(python)
    print(FOLDER)
    return 0


if __name__ == "__main__":
    sys.exit(main())
