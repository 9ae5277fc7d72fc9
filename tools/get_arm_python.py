"""Fetches a Python for 64-bit Arm and an emulator that runs it here, into build/arm64.

    python tools/get_arm_python.py

With it tests/kernels/test_neon.py tests kernels where there is no Arm processor. Both come from
where this machine has its Debian packages, but into folders of their own: nothing is installed, and
nobody needs to be root. Where the machine is not Debian's on x86-64, nothing is fetched.
"""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
import sys
import sysconfig
import tempfile
import tomllib
from pathlib import Path

PROJECT = Path(__file__).resolve().parent.parent
FOLDER = PROJECT / "build" / "arm64"
ROOT = FOLDER / "root"
EMULATOR = FOLDER / "qemu-aarch64"
PACKAGES = FOLDER / "packages"

DEBIAN = [
    *["python3-minimal:arm64", "libpython3-stdlib:arm64", "libstdc++6:arm64"],
    "qemu-user-static:amd64",
]
# what the tests import and has compiled parts; the rest is taken from this environment
COMPILED = ["hypothesis", "numpy", "xxhash"]
PLATFORMS = ["manylinux_2_28_aarch64", "manylinux_2_27_aarch64", "manylinux2014_aarch64"]
# it has the dot product, but not SVE, which takes the emulator long
PROCESSOR = "neoverse-n1"


def supported() -> bool:
    """Whether this is Debian on x86-64."""
    if sys.platform != "linux" or platform.machine() != "x86_64":
        return False
    try:
        return platform.freedesktop_os_release()["ID"] == "debian"
    except OSError:
        return False


def command() -> list[str]:
    """What starts the Arm Python; its arguments follow."""
    python = ROOT / "usr" / "bin" / "python3"
    return [*[str(EMULATOR), "-cpu", PROCESSOR], *["-L", str(ROOT), str(python)]]


def environment() -> dict[str, str]:
    """The variables it needs: it imports this project and the packages of this environment."""
    path = [str(PACKAGES), str(PROJECT), sysconfig.get_path("purelib")]
    variables = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join(path),
        "PYTHONPYCACHEPREFIX": str(FOLDER / "pycache"),  # to compile all of it again takes long
        "OPENBLAS_NUM_THREADS": "1",
    }
    variables.pop("PYTHONDONTWRITEBYTECODE", None)
    return variables


def get_arm_python() -> None:
    """Fetches all of it anew.

    Raises:
        SystemExit: apt-get failed, for the reason in the message.
        subprocess.CalledProcessError: dpkg or pip failed.
    """
    shutil.rmtree(FOLDER, ignore_errors=True)
    ROOT.mkdir(parents=True)
    with tempfile.TemporaryDirectory() as scratch:
        emulator = Path(scratch) / "emulator"
        for package in _download(Path(scratch) / "apt"):
            target = emulator if package.name.endswith("_amd64.deb") else ROOT
            subprocess.run(["dpkg", "-x", str(package), str(target)], check=True)
        names = ("qemu-aarch64-static", "qemu-aarch64")
        paths = [emulator / "usr" / "bin" / name for name in names]
        shutil.copy(next(path for path in paths if path.exists()), EMULATOR)
    if not (ROOT / "lib").exists():  # newer Debians have only /usr/lib, and this link
        (ROOT / "lib").symlink_to("usr/lib")
    _install(PACKAGES)


def _download(folder: Path) -> list[Path]:
    """Debian's packages of DEBIAN, and what they depend on."""
    for name in ("state/lists/partial", "cache/archives/partial"):
        (folder / name).mkdir(parents=True)
    status = folder / "state" / "status"  # of a system that has no package at all
    status.touch()
    options = {
        "Dir::State": folder / "state",
        "Dir::State::status": status,
        "Dir::Cache": folder / "cache",
        "APT::Architecture": "arm64",
        "APT::Architectures": "arm64,amd64",
        "APT::Sandbox::User": "root",
        "Acquire::Languages": "none",
        "Acquire::Retries": "3",
    }
    apt_get = ["apt-get", "-qq", *(f"-o{name}={value}" for name, value in options.items())]
    for arguments in (
        ["update"],
        ["install", "--yes", "--no-install-recommends", "--download-only", *DEBIAN],
    ):
        done = subprocess.run([*apt_get, *arguments], capture_output=True, text=True, check=False)
        if done.returncode:
            raise SystemExit(f"apt-get {arguments[0]} failed:\n{done.stdout}{done.stderr}")
    return sorted((folder / "cache" / "archives").glob("*.deb"))


def _install(folder: Path) -> None:
    """The packages of COMPILED, in the versions of pyproject.toml."""
    project = tomllib.loads((PROJECT / "pyproject.toml").read_text())["project"]
    pins = [
        pin for pin in project["optional-dependencies"]["dev"] if pin.split("==")[0] in COMPILED
    ]
    version = (ROOT / "usr" / "bin" / "python3").readlink().name.removeprefix("python")
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    pip += ["--no-deps", "--only-binary=:all:", "--python-version", version]
    pip += [f"--platform={name}" for name in PLATFORMS]
    subprocess.run([*pip, "--target", str(folder), *pins], check=True)


if __name__ == "__main__":
    if supported():
        get_arm_python()
        print(FOLDER)
