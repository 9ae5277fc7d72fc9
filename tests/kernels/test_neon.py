"""The kernels' tests with the libraries for Arm, in an emulator of such a processor."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import get_arm_python
import pytest
from linear_driver import KERNEL_TESTS, build
from paths import HELPERS, TESTS

LEFT_OUT = [
    "portable",  # but for the tests that run all libraries by themselves
    "test_an_idle_pool_sleeps",  # takes the emulator's own time for the pool's
    # all that follows takes long, and resembles what is left
    *["test_long_context", "test_thousands_of_short_passes", "test_top_p_of_anything"],
    *["test_top_k_of_anything", "test_matching_tokens"],
    "test_matches_numpy and 80-768",
    "test_prefill_and_decode and 14",
    "test_window and 256",
    "test_every_token_sees_all and 330",
    "test_batches_and_threads_change_no_bit and not heads2",
    "test_a_value_that_is_no_number_spoils_none_that_does_not_see_it and heads1",
    "test_top_p_of_a_vocabulary and not neon-1.0",
    "test_any_weights_run and not Q8_0-q8_0-1",
]

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(1800),
    pytest.mark.skipif(
        not get_arm_python.supported(), reason="the emulator comes from Debian for x86-64"
    ),
]


@pytest.fixture(scope="module")
def kernels() -> Path:
    folder = get_arm_python.FOLDER / "kernels"
    build.build_arm(folder)
    return folder


def run(kernels: Path, *arguments: str) -> str:
    """What the Arm Python prints, in this folder."""
    done = subprocess.run(
        [*get_arm_python.command(), *arguments],
        env={**get_arm_python.environment(), "OXILLAMA_TEST_KERNELS": str(kernels)},
        cwd=HELPERS,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-4000:]
    return done.stdout


def test_the_processor_is_known(kernels: Path) -> None:
    script = """
from linear_driver import libraries
from oxillama_web.backends.kernels.library import load_library
print(*libraries(), load_library().variant)
"""
    assert run(kernels, "-c", script).split() == ["portable", "neon", "neon"]


def test_with_neon(kernels: Path) -> None:
    options = ["-v", "--assert=plain", "-p", "no:cacheprovider", "-m", "not slow"]
    options += ["-k", " and ".join(f"not ({expression})" for expression in LEFT_OUT)]
    report = run(
        kernels, "-m", "pytest", *options, *(str(TESTS / f"{name}.py") for name in KERNEL_TESTS)
    )
    passed = re.findall(r"(\w+/\w+)\.py::(.*) PASSED", report)
    assert {file for file, _ in passed} == set(KERNEL_TESTS)
    assert sum("neon" in test for _, test in passed) > 500
    assert " skipped" not in report
