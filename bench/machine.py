"""Facts about the machine: processor, memory, who else is using it, and how fast it reads memory.

Everything comes from /proc, so the benchmark runs on Linux.
"""

from __future__ import annotations

import os
import platform
import subprocess
import time
from concurrent.futures import ThreadPoolExecutor
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


def foreign_load(seconds: float = 0.5) -> float:
    """Count the cores that others keep busy while this process sleeps (0.0 on a quiet machine).

    The load average answers too slowly and counts our own runs; this looks at /proc/stat. Time that
    a hypervisor gave to other guests (steal) counts as busy.
    """
    busy_before, total_before = _cpu_ticks()
    time.sleep(seconds)
    busy_after, total_after = _cpu_ticks()
    elapsed = max(1, total_after - total_before)
    return (busy_after - busy_before) / elapsed * (os.cpu_count() or 1)


def wait_for_quiet(limit: float, patience: float) -> float:
    """Wait up to ``patience`` seconds for less than ``limit`` busy cores; return the last load."""
    deadline = time.monotonic() + patience
    load = foreign_load()
    while load > limit and time.monotonic() < deadline:
        time.sleep(1)
        load = foreign_load()
    return load


def peak_memory(pid: int | str = "self") -> int:
    """Return the largest resident size that a process has had so far (VmHWM), in bytes."""
    return int(_first_field(f"/proc/{pid}/status", "VmHWM").split()[0]) * 1024


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


def _cpu_ticks() -> tuple[int, int]:
    """Return (busy, all) ticks of all cores; idle and waiting for a disk are not busy."""
    with open("/proc/stat") as stat:
        ticks = [int(field) for field in stat.readline().split()[1:9]]
    idle = ticks[3] + ticks[4]
    return sum(ticks) - idle, sum(ticks)


def _git(*arguments: str) -> str:
    return subprocess.run(
        ["git", *arguments], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout.strip()
