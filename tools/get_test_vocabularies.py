"""Fetches vocabularies of published models as GGUF files, once, into .cache/test-vocabularies.

    python tools/get_test_vocabularies.py

llama.cpp keeps them for its own tests, and its Python package's source archive (76 MB) has them.
Nothing of that is compiled.
"""

from __future__ import annotations

import hashlib
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path

FOLDER = Path(__file__).resolve().parent.parent / ".cache" / "test-vocabularies"
PACKAGE = "llama-cpp-python==0.3.36"
SHA256 = "832db0699007f1be95a7e41ef12e88926b02ba836461e36a36372db2760c1a2e"
PREFIX = "ggml-vocab-"


def get_test_vocabularies() -> Path:
    """The folder with NAME.gguf of each vocabulary.

    Raises:
        SystemExit: what came is not what was expected.
        subprocess.CalledProcessError: pip failed.
    """
    stamp = FOLDER / "complete"
    if stamp.is_file() and stamp.read_text() == SHA256:
        return FOLDER
    FOLDER.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as scratch:
        name = PACKAGE.partition("==")[0]
        command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps"]
        command += [f"--no-binary={name}", "--dest", scratch, PACKAGE]
        subprocess.run(command, check=True)
        (archive,) = Path(scratch).glob("*.tar.gz")
        found = hashlib.sha256(archive.read_bytes()).hexdigest()
        if found != SHA256:
            raise SystemExit(f"{archive.name} has sha256 {found}, expected {SHA256}")
        _extract(archive)
    stamp.write_text(SHA256)
    return FOLDER


def _extract(path: Path) -> None:
    with tarfile.open(path) as archive:
        for member in archive:
            name = Path(member.name).name
            file = archive.extractfile(member)
            if file is not None and name.startswith(PREFIX) and name.endswith(".gguf"):
                (FOLDER / name.removeprefix(PREFIX)).write_bytes(file.read())


if __name__ == "__main__":
    print(get_test_vocabularies())
