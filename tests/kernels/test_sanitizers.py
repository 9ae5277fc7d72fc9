"""The kernels with libraries that stop at a misplaced access, an undefined step or a race."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from linear_driver import KERNEL_TESTS, SANITIZE, build, libraries
from paths import HELPERS, TESTS

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(SANITIZE or sys.platform != "linux", reason="needs gcc's libraries"),
]


@pytest.fixture(scope="module")
def asan() -> str:
    """The path of gcc's libasan, once the libraries are built: with it, gcc takes twice as long."""
    asan = sanitizer_runtime("libasan.so")
    build.build_native(isas=libraries(), sanitizer="sanitize")
    return asan


@pytest.fixture(scope="module")
def tsan() -> str:
    """The path of gcc's libtsan, once the library is built."""
    tsan = sanitizer_runtime("libtsan.so")
    build.build_native(isas=["portable"], sanitizer="races")
    return tsan


@pytest.mark.parametrize("name", KERNEL_TESTS)
def test_under_sanitizers(asan: str, name: str) -> None:
    command = [sys.executable, "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider"]
    done = run_with(
        asan,
        [*command, str(TESTS / f"{name}.py")],
        ASAN_OPTIONS="detect_leaks=0",
        OXILLAMA_TEST_SANITIZE="1",
    )
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-4000:]


def test_threads_that_meet_where_the_plan_says(tsan: str, tmp_path: Path) -> None:
    done = drive(tsan, tmp_path)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[:4000]


def test_a_race_would_be_seen(tsan: str, tmp_path: Path) -> None:
    done = drive(tsan, tmp_path, "--without-barriers")
    assert "ThreadSanitizer: data race" in done.stderr


def drive(tsan: str, folder: Path, *options: str) -> subprocess.CompletedProcess[str]:
    """Runs race_driver.py."""
    driver = str(HELPERS / "race_driver.py")
    # ThreadSanitizer has fixed places for its tables: addresses must not be random
    command = ["setarch", "--addr-no-randomize", sys.executable, driver, str(folder), *options]
    return run_with(
        tsan, command, OXILLAMA_KERNELS="portable-races", TSAN_OPTIONS="halt_on_error=1"
    )


def run_with(
    runtime: str, command: list[str], **environment: str
) -> subprocess.CompletedProcess[str]:
    """Runs a program that opens a sanitized library."""
    return subprocess.run(
        command,
        env={**os.environ, "LD_PRELOAD": runtime, **environment},
        capture_output=True,
        text=True,
        check=False,
    )


def sanitizer_runtime(name: str) -> str:
    """The path of a library of the compiler's that has to be loaded before a sanitized one."""
    find = [*build.find_compiler(), f"-print-file-name={name}"]
    path = subprocess.run(find, capture_output=True, text=True, check=True).stdout.strip()
    if not Path(path).is_file():
        pytest.skip(f"the compiler has no {name}")
    return path
