"""Assemble build/site: everything that a static server needs, with nothing from elsewhere.

The page offers the GGUF files in build/site/models/, which stay there between runs.

    python tools/make_site.py --wheel dist/x.whl --wheels build/wheels \\
        --kernels build/pool-kernels --pyodide node_modules/pyodide \\
        --snapshots build/snapshots --out build/site
"""

from __future__ import annotations

import argparse
import hashlib
import json
import shutil
import subprocess
import sys
from pathlib import Path

from warm_up_model import warm_up_model

WEB = Path(__file__).resolve().parent.parent / "web"
ROLLDOWN = WEB.parent / "node_modules" / "rolldown" / "bin" / "cli.mjs"
MAKE_SNAPSHOT = Path(__file__).resolve().parent / "make_snapshot.mjs"
# Modules with an address of their own, which are bundled with everything that they import.
BUNDLES = {
    "oxillama.js": "oxillama.js",
    "worker.js": "worker/worker.js",
    "kernel_thread.js": "kernels/thread.js",
}
WEB_SUFFIXES = (".html", ".css", ".js", ".svg", ".png", ".webmanifest")
# ES modules of npm packages, for the page
PAGE_MODULES = {
    "marked.js": "marked/lib/marked.esm.js",
    "dompurify.js": "dompurify/dist/purify.es.mjs",
    "idb-keyval.js": "idb-keyval/dist/index.js",
}
# web/kernels/pool.js opens one of the last six
KERNELS = (
    "ox-checksum.wasm",
    *(
        f"ox-{kind}-{isa}.wasm"
        for kind in ("shared", "single")
        for isa in ("simd128", "relaxed", "relaxed-pairs")
    ),
)
RUNTIME_MODULES = ("pyodide.mjs", "pyodide.asm.mjs")
RUNTIME_DATA = ("pyodide.asm.wasm", "python_stdlib.zip")
# A hint for V8 to compile every function at once (https://v8.dev/blog/explicit-compile-hints).
# Chromium does not keep what is compiled later, so each start would compile some 600 functions.
COMPILE_ALL = "//# allFunctionsCalledOnLoad\n"


def make_site(
    wheel: Path, extra_wheels: list[Path], kernels: Path, pyodide: Path, snapshots: Path, out: Path
) -> None:
    """Fill the folder `out`; what the last run left there is removed, except models/.

    Args:
        wheel: the package with its kernels.
        extra_wheels: what chat templates need: jinja2 and markupsafe in pure Python.
        kernels: a folder with the kernels as standalone modules.
        pyodide: the unpacked npm package.
        snapshots: a folder that keeps the memory snapshot between runs.
        out: the folder to fill.
    """
    out.mkdir(parents=True, exist_ok=True)
    for stale in out.iterdir():
        if stale.is_file():
            stale.unlink()
        elif stale.name != "models":
            shutil.rmtree(stale)
    copy_web(out)
    for name, module in BUNDLES.items():
        bundle(WEB / module, out / name)
    for folder in ("pyodide", "wheels"):
        (out / folder).mkdir()
    (out / "page" / "vendor").mkdir()
    for name, module in PAGE_MODULES.items():
        shutil.copy(pyodide.parent / module, out / "page" / "vendor" / name)
    for name in RUNTIME_MODULES:
        (out / "pyodide" / name).write_text(COMPILE_ALL + (pyodide / name).read_text())
    for name in RUNTIME_DATA:
        shutil.copy(pyodide / name, out / "pyodide" / name)
    wheels = [wheel, *sorted(extra_wheels)]
    for path in wheels:
        shutil.copy(path, out / "wheels" / path.name)
    for name in KERNELS:
        shutil.copy(kernels / name, out / "kernels" / name)
    (out / "warm_up_model.bin").write_bytes(warm_up_model())
    write_model_list(out / "models")
    manifest = {
        "version": wheel.name.split("-")[1],
        "pyodide": json.loads((pyodide / "package.json").read_text())["version"],
        "wheels": [f"wheels/{path.name}" for path in wheels],
        "kernels": [f"kernels/{name}" for name in KERNELS],
        "snapshot": None,
        "lock": empty_lock(pyodide),
    }
    write_manifest(out, manifest)
    snapshot = make_snapshot(out, snapshots, fingerprint([MAKE_SNAPSHOT, *wheels], manifest))
    shutil.copy(snapshot, out / "pyodide" / snapshot.name)
    write_manifest(out, {**manifest, "snapshot": f"pyodide/{snapshot.name}"})
    write_precache(out)


def copy_web(out: Path) -> None:
    """Copy web/ with its folders."""
    for path in sorted(WEB.rglob("*")):
        if path.suffix in WEB_SUFFIXES:
            target = out / path.relative_to(WEB)
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(path, target)


def bundle(module: Path, target: Path) -> None:
    """Write one file with a module and everything that it imports.

    Fetched one after the other, they would start some hundredths of a second later.
    """
    options = ["--file", str(target), "--format", "esm", "--platform", "browser"]
    command = ["node", str(ROLLDOWN), str(module), *options]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)


def write_model_list(folder: Path) -> None:
    """List the GGUF files in the folder for the page."""
    folder.mkdir(exist_ok=True)
    models = [{"file": f.name, "bytes": f.stat().st_size} for f in sorted(folder.glob("*.gguf"))]
    (folder / "models.json").write_text(json.dumps(models) + "\n")


def write_manifest(out: Path, manifest: dict[str, object]) -> None:
    (out / "manifest.json").write_text(json.dumps(manifest, indent=2) + "\n")


def write_precache(out: Path) -> None:
    """List what the service worker keeps for visits without a network: all but the models."""
    files = [path for path in sorted(out.rglob("*")) if path.is_file()]
    names = [path.relative_to(out).as_posix() for path in files]
    kept = [
        (name, path)
        for name, path in zip(names, files, strict=True)
        if not name.startswith("models/") and name not in ("sw.js", "precache.js")
    ]
    digest = hashlib.sha256()
    for name, path in kept:
        digest.update(name.encode() + b"\0" + hashlib.sha256(path.read_bytes()).digest())
    precache = {"version": digest.hexdigest()[:12], "files": ["./", *(name for name, _ in kept)]}
    (out / "precache.js").write_text(f"self.PRECACHE = {json.dumps(precache)};\n")


def fingerprint(files: list[Path], manifest: dict[str, object]) -> str:
    """Return a key that changes whenever the memory snapshot would."""
    digest = hashlib.sha256(json.dumps(manifest).encode())
    for path in files:
        digest.update(path.read_bytes())
    return digest.hexdigest()[:12]


def make_snapshot(site: Path, snapshots: Path, key: str) -> Path:
    """Return the memory snapshot of Python with the site's wheels, which is made once per key."""
    path = snapshots / f"snapshot-{key}.bin.gz"
    if not path.is_file():
        shutil.rmtree(snapshots, ignore_errors=True)
        snapshots.mkdir(parents=True)
        unfinished = snapshots / "unfinished"
        subprocess.run(["node", str(MAKE_SNAPSHOT), str(site), str(unfinished)], check=True)
        unfinished.rename(path)
    return path


def empty_lock(pyodide: Path) -> dict[str, object]:
    """Return Pyodide's lock file without packages: it would fetch them, and none is needed."""
    lock = json.loads((pyodide / "pyodide-lock.json").read_text())
    return {"info": lock["info"], "packages": {}}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--wheel", type=Path, required=True, help="the package's browser wheel")
    parser.add_argument("--wheels", type=Path, required=True, help="folder with the other wheels")
    parser.add_argument("--kernels", type=Path, required=True, help="folder with the kernels")
    parser.add_argument("--pyodide", type=Path, required=True, help="the npm package, unpacked")
    parser.add_argument("--snapshots", type=Path, required=True, help="folder for memory snapshots")
    parser.add_argument("--out", type=Path, required=True, help="folder to fill")
    arguments = parser.parse_args()
    extra_wheels = list(arguments.wheels.glob("*.whl"))
    make_site(
        arguments.wheel,
        extra_wheels,
        arguments.kernels,
        arguments.pyodide,
        arguments.snapshots,
        arguments.out,
    )
    print(arguments.out)
    return 0


if __name__ == "__main__":
    sys.exit(main())
