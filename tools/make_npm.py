"""Assemble build/npm, the npm package `oxillama-web`: modules, types, worker and runtime.

    python tools/make_npm.py --site build/site --out build/npm

It needs no build step: the modules are the site's own. integrity.json has the SHA-384 of each file
in the format of Subresource Integrity.
"""

from __future__ import annotations

import argparse
import base64
import hashlib
import json
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
TSC = ROOT / "node_modules" / "typescript" / "bin" / "tsc"
# parts of the site that belong to the library, beside the modules at its top
FOLDERS = ("pyodide", "wheels", "kernels")
FILES = ("manifest.json", "warm_up_model.bin")
OTHERS = {
    "docs/javascript.md": "README.md",
    "LICENSE": "LICENSE",
    "tools/npm_copy.mjs": "copy.mjs",
}
ENTRY_POINTS = ("oxillama", "isolation")


def make_npm(site: Path, out: Path) -> None:
    """Fill the folder `out`, which is emptied first."""
    shutil.rmtree(out, ignore_errors=True)
    out.mkdir(parents=True)
    for folder in FOLDERS:
        # worker.js contains the modules in there
        shutil.copytree(site / folder, out / folder, ignore=shutil.ignore_patterns("*.js"))
    for path in [*sorted(site.glob("*.js")), *(site / name for name in FILES)]:
        if path.name != "precache.js":
            shutil.copy(path, out / path.name)
    for path, name in OTHERS.items():
        shutil.copy(ROOT / path, out / name)
    make_declarations(out / "types")
    manifest = json.loads((site / "manifest.json").read_text())
    (out / "package.json").write_text(json.dumps(package(manifest["version"]), indent=2) + "\n")
    write_integrity(out)


def package(version: str) -> dict[str, object]:
    def entry(name: str) -> dict[str, str]:
        return {"types": f"./types/{name}.d.ts", "default": f"./{name}.js"}

    return {
        "name": "oxillama-web",
        "version": version,
        "description": "GGUF language models in a browser tab",
        "license": "Apache-2.0",
        "type": "module",
        "exports": {
            ".": entry("oxillama"),
            "./isolation": entry("isolation"),
            "./package.json": "./package.json",
        },
        "bin": {"oxillama-web": "./copy.mjs"},
    }


def make_declarations(out: Path) -> None:
    """Write TypeScript's declarations, made from the JSDoc types."""
    sources = [str(ROOT / "web" / f"{name}.js") for name in ENTRY_POINTS]
    options = (
        "--allowJs --declaration --emitDeclarationOnly --target ES2023 --module ESNext "
        "--moduleResolution Bundler --lib ES2023,DOM,DOM.Iterable,DOM.AsyncIterable --types node "
        "--skipLibCheck --strict --ignoreConfig"
    ).split()
    command = ["node", str(TSC), *options, "--rootDir", str(ROOT / "web"), "--outDir", str(out)]
    subprocess.run([*command, *sources], check=True, cwd=ROOT)


def write_integrity(out: Path) -> None:
    hashes = {}
    for path in sorted(out.rglob("*")):
        if path.is_file():
            digest = base64.b64encode(hashlib.sha384(path.read_bytes()).digest()).decode()
            hashes[path.relative_to(out).as_posix()] = f"sha384-{digest}"
    (out / "integrity.json").write_text(json.dumps(hashes, indent=2) + "\n")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--site", type=Path, default=ROOT / "build" / "site")
    parser.add_argument("--out", type=Path, default=ROOT / "build" / "npm")
    arguments = parser.parse_args()
    make_npm(arguments.site, arguments.out)
    print(arguments.out)
    return 0


if __name__ == "__main__":
    sys.exit(main())
