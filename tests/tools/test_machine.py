"""What the benchmark measures of the machine (bench/machine.py)."""

from __future__ import annotations

import subprocess
import sys
import time

from bench.machine import PeakMemory, peak_memory

HELD_BYTES = 100 << 20
# Chromium has its peak forgotten in the same way
PROCESS = f"""
import pathlib
held = b"1" * {HELD_BYTES}
input()
del held
pathlib.Path("/proc/self/clear_refs").write_text("5")
print("forgotten", flush=True)
input()
"""


def test_a_peak_is_known_though_its_process_had_it_forgotten() -> None:
    command = [sys.executable, "-c", PROCESS]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as child:
        assert child.stdin is not None and child.stdout is not None
        with PeakMemory([child.pid]) as peak:
            deadline = time.monotonic() + 30
            while peak.largest < HELD_BYTES and time.monotonic() < deadline:
                time.sleep(0.01)
            print(file=child.stdin, flush=True)
            assert child.stdout.readline() == "forgotten\n"
            assert peak_memory(child.pid) < HELD_BYTES <= peak.largest
        print(file=child.stdin, flush=True)
        assert child.wait() == 0
