"""The kernels' tests with libraries that stop at a misplaced access or undefined step."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from linear_driver import KERNEL_TESTS, SANITIZE, build, libraries, sanitizer_runtime

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(SANITIZE or sys.platform != "linux", reason="needs gcc's libasan"),
]


@pytest.fixture(scope="module")
def asan() -> str:
    """The path of gcc's libasan, once the libraries are built: with it, gcc takes twice as long."""
    asan = sanitizer_runtime("libasan.so")
    build.build_native(isas=libraries(), sanitizer="sanitize")
    return asan


@pytest.mark.parametrize("name", KERNEL_TESTS)
def test_under_sanitizers(asan: str, name: str) -> None:
    environment = {
        **os.environ,
        "LD_PRELOAD": asan,
        "ASAN_OPTIONS": "detect_leaks=0",
        "OXILLAMA_TEST_SANITIZE": "1",
    }
    command = [sys.executable, "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider"]
    done = subprocess.run(
        [*command, str(Path(__file__).with_name(f"{name}.py"))],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-4000:]
