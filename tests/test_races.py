"""No two threads touch the same bytes unless they have met: watched by ThreadSanitizer."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from linear_driver import SANITIZE, build, sanitizer_runtime

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(SANITIZE or sys.platform != "linux", reason="needs gcc's libtsan"),
]


@pytest.fixture(scope="module")
def tsan() -> str:
    """The path of gcc's libtsan, once the library is built."""
    tsan = sanitizer_runtime("libtsan.so")
    build.build_native(isas=["portable"], sanitizer="races")
    return tsan


def drive(tsan: str, folder: Path, *options: str) -> subprocess.CompletedProcess[str]:
    environment = {
        **os.environ,
        "LD_PRELOAD": tsan,
        "OXILLAMA_KERNELS": "portable-races",
        "TSAN_OPTIONS": "halt_on_error=1",
    }
    driver = str(Path(__file__).with_name("race_driver.py"))
    # ThreadSanitizer has fixed places for its tables: addresses must not be random
    command = ["setarch", "--addr-no-randomize", sys.executable, driver, str(folder), *options]
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=False)


def test_threads_that_meet_where_the_plan_says(tsan: str, tmp_path: Path) -> None:
    done = drive(tsan, tmp_path)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[:4000]


def test_a_race_would_be_seen(tsan: str, tmp_path: Path) -> None:
    done = drive(tsan, tmp_path, "--without-barriers")
    assert "ThreadSanitizer: data race" in done.stderr
