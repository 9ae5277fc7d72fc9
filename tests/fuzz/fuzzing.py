"""Fuzzing: many broken inputs, each of which must either work or end in a clear error.

A fuzzer is a module of this folder with a FUZZER: it makes a case from a random generator, and uses
it. A case is known by the fuzzer's name, a seed and its number, and can be made again from these:

    python tests/fuzz/run.py tokenizer_json --seed 1 --case 123

Cases run in a process of their own. It is ended when one case takes too long, which no thread or
signal could do while a C function runs, and a crash or too much memory ends only this process.
"""

from __future__ import annotations

import os
import queue
import random
import resource
import subprocess
import sys
import threading
import time
import traceback
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from importlib import import_module
from itertools import count
from pathlib import Path
from typing import IO, Any

FOLDER = Path(__file__).resolve().parent
# A case that takes longer hangs. The slowest cases that are right take two seconds here.
MAX_SECONDS = 20.0
MAX_BYTES = 4 << 30


@dataclass(frozen=True)
class Fuzzer:
    """One kind of input.

    Attributes:
        make: returns a case; the generator is its only source of chance.
        use: does with a case what a program would do with it.
        errors: the classes of clear errors; any other exception is a fault.
    """

    make: Callable[[random.Random], Any]
    use: Callable[[Any], None]
    errors: tuple[type[BaseException], ...]

    def outcome(self, case: Any) -> str:
        """Use a case; return "works" or the name of the clear error. A fault is raised."""
        try:
            self.use(case)
        except self.errors as error:
            return type(error).__name__
        return "works"


@dataclass
class Report:
    """What came of the cases of one fuzzer.

    Attributes:
        outcomes: how many cases ended in which way.
        faults: the numbers of the cases that ended wrongly, and how.
        slowest: seconds and number of the case that took longest.
    """

    outcomes: Counter[str] = field(default_factory=Counter)
    faults: dict[int, str] = field(default_factory=dict)
    slowest: tuple[float, int] = (0.0, -1)

    def __str__(self) -> str:
        total = sum(self.outcomes.values())
        counts = ", ".join(f"{n} {outcome}" for outcome, n in self.outcomes.most_common())
        seconds, case = self.slowest
        return f"{total} cases: {counts}; the slowest is {case} with {seconds:.1f} s"


def names() -> list[str]:
    """Return the names of all fuzzers."""
    paths = FOLDER.glob("*.py")
    return sorted(path.stem for path in paths if "\nFUZZER = " in path.read_text())


def load(name: str) -> Fuzzer:
    """Return a fuzzer by its name."""
    fuzzer = import_module(name).FUZZER
    assert isinstance(fuzzer, Fuzzer)
    return fuzzer


def chance(name: str, seed: int, case: int) -> random.Random:
    """Return the generator that a case is made from."""
    return random.Random(f"{name}/{seed}/{case}")


def fuzz(name: str, seconds: float, seed: int = 1, max_seconds: float = MAX_SECONDS) -> Report:
    """Run cases of a fuzzer for a time, from the first one on."""
    report = Report()
    deadline = time.monotonic() + seconds
    first = 0
    while first >= 0 and time.monotonic() < deadline:
        first = _watch(name, seed, first, deadline, max_seconds, report)
    return report


def _watch(
    name: str, seed: int, first: int, deadline: float, max_seconds: float, report: Report
) -> int:
    """Run cases in a process until it ends; return the case to continue with, or -1."""
    command = [sys.executable, str(FOLDER / "run.py"), name, "--seed", str(seed)]
    process = subprocess.Popen(
        [*command, "--from", str(first)], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    )
    assert process.stdout is not None
    lines: queue.Queue[str | None] = queue.Queue()
    threading.Thread(target=_collect, args=(process.stdout, lines), daemon=True).start()
    running = first - 1
    try:
        while True:
            line = lines.get(timeout=max_seconds if running >= first else 60)
            if line is None:
                report.outcomes["crash"] += 1
                report.faults[running] = f"the process ended with {process.wait()}"
                return running + 1
            event, number, *rest = line.rstrip("\n").split("\t")
            running = int(number)
            if event == "end":
                _count(report, running, *rest)
                if time.monotonic() > deadline:
                    return -1
    except queue.Empty:
        report.outcomes["hang"] += 1
        report.faults[running] = f"it takes more than {max_seconds} seconds"
        return running + 1
    finally:
        process.kill()
        process.wait()


def _count(report: Report, case: int, seconds: str, outcome: str, detail: str) -> None:
    report.outcomes[outcome] += 1
    report.slowest = max(report.slowest, (float(seconds), case))
    if detail:
        report.faults[case] = detail


def _collect(stream: IO[bytes], lines: queue.Queue[str | None]) -> None:
    for line in stream:
        lines.put(line.decode())
    lines.put(None)


def run_cases(name: str, seed: int, first: int) -> None:
    """Run cases without end, and write a line when each begins and ends."""
    resource.setrlimit(resource.RLIMIT_AS, (MAX_BYTES, MAX_BYTES))
    out = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what libraries print is no line of ours
    fuzzer = load(name)
    for case in count(first):
        made = fuzzer.make(chance(name, seed, case))
        print(f"begin\t{case}", file=out, flush=True)
        start, detail = time.perf_counter(), ""
        try:
            outcome = fuzzer.outcome(made)
        except BaseException as error:  # a panic of a Rust library is no Exception
            outcome = type(error).__name__
            detail = _one_line(error)
        seconds = time.perf_counter() - start
        print(f"end\t{case}\t{seconds:.3f}\t{outcome}\t{detail}", file=out, flush=True)


def _one_line(error: BaseException) -> str:
    frames = traceback.extract_tb(error.__traceback__)
    place = f"{Path(frames[-1].filename).name}:{frames[-1].lineno}"
    text = f"{type(error).__name__}: {error} ({place})"
    return ascii(text)[1:-1][:300]
