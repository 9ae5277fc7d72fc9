"""Builds build/lite: a JupyterLite that asks no other host for anything, with a notebook in it.

    python tools/make_lite.py --wheel dist/x.whl --out build/lite

JupyterLite's kernel and Pyodide take their packages from a CDN. Here Pyodide gets a lock file of
nothing but what the kernel needs, with wheels from PyPI.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import re
import shutil
import subprocess
import sys
import tempfile
import zipfile
from email.parser import BytesParser
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
NOTEBOOK = ROOT / "examples" / "notebook.ipynb"
PYODIDE = ROOT / "node_modules" / "pyodide"
REQUIREMENTS = ROOT / "tools" / "notebook-wheels.txt"
KERNEL_SETTINGS = "@jupyterlite/pyodide-kernel-extension:kernel"


def make_lite(wheel: Path, out: Path) -> None:
    """Fills the folder `out`, unless it is what these inputs give already.

    Args:
        wheel: the package; it lies beside the notebook.
        out: the folder to fill.

    Raises:
        subprocess.CalledProcessError: pip or JupyterLite failed.
    """
    stamp = out / "inputs.sha256"
    state = _digest(Path(__file__), NOTEBOOK, REQUIREMENTS, PYODIDE / "package.json")
    if not (stamp.is_file() and stamp.read_text() == state):
        shutil.rmtree(out, ignore_errors=True)
        with tempfile.TemporaryDirectory() as scratch:
            _build(Path(scratch), out)
        stamp.write_text(state)
    for stale in (out / "files").glob("*.whl"):
        stale.unlink()
    shutil.copy(wheel, out / "files")


def _build(scratch: Path, out: Path) -> None:
    runtime = scratch / "static" / "pyodide"
    shutil.copytree(PYODIDE, runtime)
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps"]
    command += ["--only-binary=:all:", "--python-version", "3.14", "--dest", str(runtime)]
    subprocess.run([*command, "--requirement", str(REQUIREMENTS)], check=True)
    _write_lock(runtime)
    settings = {"disablePyPIFallback": True}
    _write_json(
        scratch / "jupyter-lite.json",
        {
            "jupyter-lite-schema-version": 0,
            "jupyter-config-data": {
                "contentsAllJsonFile": "all.json",
                "litePluginSettings": {KERNEL_SETTINGS: settings},
            },
        },
    )
    command = [sys.executable, "-m", "jupyterlite_core", "build", "--lite-dir", str(scratch)]
    command += ["--output-dir", str(out), "--apps", "lab", "--no-unused-shared-packages"]
    subprocess.run([*command, "--no-sourcemaps"], check=True, cwd=scratch, capture_output=True)
    _add_notebook(out)


def _write_lock(runtime: Path) -> None:
    lock_file = runtime / "pyodide-lock.json"
    lock = json.loads(lock_file.read_text())
    wheels = sorted(runtime.glob("*.whl"))
    names = {_normalized(wheel.name.split("-")[0]) for wheel in wheels}
    packages = [_describe(wheel, names) for wheel in wheels]
    lock["packages"] = {package["name"]: package for package in packages}
    _write_json(lock_file, lock)


def _describe(wheel: Path, names: set[str]) -> dict[str, Any]:
    """A wheel as pyodide-lock.json describes it; it depends on the others as far as they exist."""
    with zipfile.ZipFile(wheel) as archive:
        path = next(name for name in archive.namelist() if name.endswith(".dist-info/METADATA"))
        metadata = BytesParser().parsebytes(archive.read(path))
        top_level = {name.split("/")[0].removesuffix(".py") for name in archive.namelist()}
    required = [
        _normalized(re.split(r"[^\w.-]", line)[0])
        for line in metadata.get_all("Requires-Dist", [])
        if "extra ==" not in line
    ]
    return {
        "name": _normalized(metadata["Name"]),
        "version": metadata["Version"],
        "file_name": wheel.name,
        "install_dir": "site",
        "sha256": hashlib.sha256(wheel.read_bytes()).hexdigest(),
        "package_type": "package",
        "imports": sorted(name for name in top_level if name.isidentifier()),
        "depends": sorted(names.intersection(required)),
    }


def _add_notebook(out: Path) -> None:
    """Writes what JupyterLite would with jupyter_server: the list of files."""
    files = out / "files"
    files.mkdir(exist_ok=True)
    shutil.copy(NOTEBOOK, files)
    date = "2026-01-01T00:00:00Z"
    common = {"content": None, "created": date, "last_modified": date, "writable": True}
    entry = {
        **common, "name": NOTEBOOK.name, "path": NOTEBOOK.name, "type": "notebook",
        "format": None, "mimetype": None, "size": NOTEBOOK.stat().st_size,
    }  # fmt: skip
    folder = {"name": "", "path": "", "type": "directory", "format": "json", "mimetype": None}
    contents = out / "api" / "contents"
    contents.mkdir(parents=True, exist_ok=True)
    _write_json(contents / "all.json", {**common, **folder, "size": None, "content": [entry]})


def _normalized(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def _write_json(path: Path, value: object) -> None:
    path.write_text(json.dumps(value, indent=1) + "\n")


def _digest(*paths: Path) -> str:
    digest = hashlib.sha256()
    for path in paths:
        digest.update(path.read_bytes())
    return digest.hexdigest()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--wheel", type=Path, required=True)
    parser.add_argument("--out", type=Path, default=ROOT / "build" / "lite")
    arguments = parser.parse_args()
    make_lite(arguments.wheel, arguments.out)
