"""Assembles build/site: everything a static server needs, and nothing from anywhere else.

    python tools/make_site.py --wheel dist/x.whl --wheels build/wheels --pyodide node_modules/pyodide \\
        --out build/site
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
from pathlib import Path

WEB = Path(__file__).resolve().parent.parent / "web"
WEB_SUFFIXES = (".html", ".css", ".js", ".svg")
RUNTIME_FILES = ("pyodide.mjs", "pyodide.asm.mjs", "pyodide.asm.wasm", "python_stdlib.zip")


def make_site(wheel: Path, extra_wheels: list[Path], pyodide: Path, out: Path) -> None:
    """Fills the folder `out`; what the last run left there goes, except models/.

    Args:
        wheel: the package, with its kernels.
        extra_wheels: what chat templates need: jinja2 and markupsafe, pure Python.
        pyodide: the unpacked npm package.
        out: the folder to fill.
    """
    out.mkdir(parents=True, exist_ok=True)
    for name in ("pyodide", "wheels"):
        shutil.rmtree(out / name, ignore_errors=True)
        (out / name).mkdir()
    for stale in out.iterdir():
        if stale.is_file():
            stale.unlink()
    for source in sorted(WEB.iterdir()):
        if source.suffix in WEB_SUFFIXES:
            shutil.copy(source, out / source.name)
    for name in RUNTIME_FILES:
        shutil.copy(pyodide / name, out / "pyodide" / name)
    wheels = [wheel, *sorted(extra_wheels)]
    for path in wheels:
        shutil.copy(path, out / "wheels" / path.name)
    manifest = {
        "version": wheel.name.split("-")[1],
        "pyodide": json.loads((pyodide / "package.json").read_text())["version"],
        "wheels": [f"wheels/{path.name}" for path in wheels],
        "snapshot": None,
        "lock": empty_lock(pyodide),
    }
    (out / "manifest.json").write_text(json.dumps(manifest, indent=2) + "\n")


def empty_lock(pyodide: Path) -> dict[str, object]:
    """Pyodide's lock without packages: it would fetch those from elsewhere, and none is needed."""
    lock = json.loads((pyodide / "pyodide-lock.json").read_text())
    return {"info": lock["info"], "packages": {}}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--wheel", type=Path, required=True, help="the package's browser wheel")
    parser.add_argument("--wheels", type=Path, required=True, help="folder of the other wheels")
    parser.add_argument("--pyodide", type=Path, required=True, help="the npm package, unpacked")
    parser.add_argument("--out", type=Path, required=True, help="folder to fill")
    arguments = parser.parse_args()
    extra_wheels = list(arguments.wheels.glob("*.whl"))
    make_site(arguments.wheel, extra_wheels, arguments.pyodide, arguments.out)
    print(arguments.out)
    return 0


if __name__ == "__main__":
    sys.exit(main())
