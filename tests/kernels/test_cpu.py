"""The kernels' own look at the processor against the kernel's."""

from __future__ import annotations

from pathlib import Path

import pytest
from linear_driver import build, load

CPUINFO = Path("/proc/cpuinfo")


@pytest.mark.skipif(
    build.machine() != "x86_64" or not CPUINFO.is_file(), reason="needs x86 and Linux"
)
def test_features_are_those_that_linux_lists() -> None:
    line = next(line for line in CPUINFO.read_text().splitlines() if line.startswith("flags"))
    flags = set(line.split(":")[1].split())
    expected = 0
    if {"avx2", "fma", "f16c"} <= flags:
        expected |= 1
        if {"avx512f", "avx512dq", "avx512bw", "avx512vl", "avx512_vnni"} <= flags:
            expected |= 2
    assert load("portable").ox_cpu_features() == expected
