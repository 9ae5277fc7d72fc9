"""Facts about the machine: processor, memory, who else is using it, and how fast it reads memory.

Everything comes from /proc, so the benchmark runs on Linux.
"""

from __future__ import annotations

import os
import platform
import subprocess
import threading
import time
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent


def machine_facts() -> dict[str, Any]:
    """Describe processor, core count, memory in bytes, kernel and operating system."""
    return {
        "cpu": _first_field("/proc/cpuinfo", "model name"),
        "cpu_flags": [flag for flag in _INTERESTING_FLAGS if flag in _cpu_flags()],
        "cores": len(os.sched_getaffinity(0)),
        "memory_bytes": int(_first_field("/proc/meminfo", "MemTotal").split()[0]) * 1024,
        "kernel": platform.release(),
        "python": platform.python_version(),
    }


def commit() -> dict[str, Any]:
    """Name the commit of the work tree and whether tracked files differ from it."""
    try:
        return {
            "commit": _git("rev-parse", "HEAD"),
            "modified": bool(_git("status", "--porcelain", "--untracked-files=no")),
        }
    except (OSError, subprocess.CalledProcessError):
        return {"commit": None, "modified": None}


def read_bandwidth(nbytes: int, threads: int, repeats: int = 8) -> float:
    """Measure how many bytes a second ``threads`` cores read from a buffer of ``nbytes``.

    The buffer has the size of a model, because decoding reads the whole model once a token:
    bandwidth / model bytes is the limit of decode tokens/s. Best of ``repeats``; a model that fits
    a large last-level cache gets that cache's bandwidth, as the engines do.
    """
    import numpy as np

    parts = [np.ones(nbytes // threads // 4, np.int32) for _ in range(threads)]
    best = float("inf")
    with ThreadPoolExecutor(threads) as pool:
        for _ in range(repeats):
            start = time.perf_counter()
            list(pool.map(np.max, parts))
            best = min(best, time.perf_counter() - start)
    return sum(part.nbytes for part in parts) / best


class ForeignLoad:
    """Counts the cores that others keep busy while a run takes its time.

    What /proc/stat says of all cores, less what this process and its finished children used. The
    load average would not do: it answers slowly and counts our own runs. Time that a hypervisor
    gave to other guests (steal) counts as busy.
    """

    def __init__(self) -> None:
        """Start to count."""
        self._wall, self._foreign = time.monotonic(), _busy_seconds() - _own_seconds()

    def cores(self, unreaped: float = 0.0) -> float:
        """Return the busy cores since the start, 0.0 on a quiet machine.

        ``unreaped`` is what processes of ours used whose time never reached us: a browser's
        renderers are nobody's children once the browser has gone.
        """
        elapsed = time.monotonic() - self._wall
        foreign = _busy_seconds() - _own_seconds() - unreaped - self._foreign
        return max(0.0, foreign) / elapsed


def wait_for_quiet(limit: float, patience: float) -> float:
    """Wait up to ``patience`` seconds for less than ``limit`` busy cores; return the last load."""
    deadline = time.monotonic() + patience
    while True:
        others = ForeignLoad()
        time.sleep(0.5)
        load = others.cores()
        if load <= limit or time.monotonic() > deadline:
            return load


def peak_memory(pid: int | str = "self") -> int:
    """Return the largest resident size that a process has had so far (VmHWM), in bytes."""
    return int(_first_field(f"/proc/{pid}/status", "VmHWM").split()[0]) * 1024


class PeakMemory:
    """Follows the peaks of other processes while a `with` block runs.

    Chromium has the kernel forget its peaks (/proc/self/clear_refs) each time it counts its memory,
    a minute after its start for the first time: asked once at its end, a longer run would show
    what was left after loading.
    """

    def __init__(self, pids: Iterable[int]) -> None:
        """``pids``: processes that run already."""
        self._pids = list(pids)
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._follow)
        self.largest = 0
        """The largest resident size that one of them has had, in bytes."""

    def __enter__(self) -> PeakMemory:
        """Begin."""
        self._thread.start()
        return self

    def __exit__(self, *exception: object) -> None:
        """Look once more, and end."""
        self._ended.set()
        self._thread.join()

    def _follow(self) -> None:
        ended = False
        while not ended:
            ended = self._ended.wait(_PEAK_POLL_SECONDS)
            for pid in self._pids:
                with suppress(OSError, ValueError):  # it has ended
                    self.largest = max(self.largest, peak_memory(pid))


_PEAK_POLL_SECONDS = 0.05
_INTERESTING_FLAGS = ("avx2", "f16c", "avx_vnni", "avx512f", "avx512_vnni", "amx_int8", "asimddp")


def _first_field(path: str, name: str) -> str:
    for line in Path(path).read_text().splitlines():
        key, _, value = line.partition(":")
        if key.strip() == name:
            return value.strip()
    return "0" if path.startswith("/proc/meminfo") else "unknown"


def _cpu_flags() -> set[str]:
    flags = _first_field("/proc/cpuinfo", "flags")
    return set((flags if flags != "unknown" else _first_field("/proc/cpuinfo", "Features")).split())


def _busy_seconds() -> float:
    """Return the seconds that all cores together were busy; waiting for a disk is not busy."""
    with open("/proc/stat") as stat:
        ticks = [int(field) for field in stat.readline().split()[1:9]]
    idle = ticks[3] + ticks[4]
    return (sum(ticks) - idle) / os.sysconf("SC_CLK_TCK")


def _own_seconds() -> float:
    times = os.times()
    return times.user + times.system + times.children_user + times.children_system


def _git(*arguments: str) -> str:
    return subprocess.run(
        ["git", *arguments], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout.strip()
