"""Runs Python in a Pyodide in Node, with the package's wheel installed by micropip."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Mapping
from pathlib import Path

from get_test_wheels import MICROPIP, PACKAGING, get_test_wheels
from paths import HELPERS, ROOT

# release to its folder in node_modules
PYODIDES = {"314": "pyodide", "0.27": "pyodide-0.27"}


def run_in_node(
    release: str, wheel: Path, code: str, files: Mapping[str, Path], *archives: str
) -> str:
    """What the code evaluates to.

    Args:
        release: of Pyodide, a key of PYODIDES.
        wheel: the package's own.
        code: Python, whose last line is an expression.
        files: paths in Pyodide to files that shall be there.
        archives: names of further wheels (get_test_wheels.py) to unpack first.
    """
    test_wheels = get_test_wheels()
    names = (MICROPIP[release], PACKAGING, *archives)
    job = {
        "pyodide": str(ROOT / "node_modules" / PYODIDES[release]),
        "archives": [str(test_wheels / name) for name in names],
        "wheel": str(wheel),
        "files": {target: str(path) for target, path in files.items()},
        "code": code,
    }
    command = ["node", str(HELPERS / "install_wheel.mjs"), json.dumps(job)]
    result = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    assert result.returncode == 0, result.stderr[-2000:]
    return result.stdout.rstrip("\n")
