"""Runs fuzzers for as long as one likes; `make fuzz SECONDS=600` does that with all of them.

python tests/fuzz/run.py --seconds 600             all fuzzers, with a new seed
python tests/fuzz/run.py NAME --seconds 60         one of them
python tests/fuzz/run.py NAME --seed S --case N    one case, here, with its traceback
"""

from __future__ import annotations

import argparse
import random
import sys
from pathlib import Path

FOLDER = Path(__file__).resolve().parent
sys.path[:0] = [str(FOLDER), str(FOLDER.parent / "helpers"), str(FOLDER.parents[1])]

import fuzzing  # noqa: E402


def main() -> int:
    """Return the exit status: 1 if any case ended wrongly."""
    options = _options()
    if options.case is not None:
        return _run_one(options.name, options.seed, options.case)
    if options.start is not None:
        fuzzing.run_cases(options.name, options.seed, options.start)
    names = [options.name] if options.name else fuzzing.names()
    status = 0
    for name in names:
        report = fuzzing.fuzz(name, options.seconds / len(names), options.seed)
        print(f"{name} (seed {options.seed}): {report}", flush=True)
        for case, detail in report.faults.items():
            print(f"  --seed {options.seed} --case {case}: {detail}", flush=True)
            status = 1
    return status


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("name", nargs="?", choices=fuzzing.names(), help="one fuzzer; else all")
    parser.add_argument("--seconds", type=float, default=60, help="for all of them together")
    parser.add_argument("--seed", type=int, default=random.randrange(1 << 30))
    parser.add_argument("--case", type=int, help="run this case alone, and show how it ends")
    parser.add_argument("--from", type=int, dest="start", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.name is None and not options.case is options.start is None:
        parser.error("a case is one of a fuzzer: give its name")
    return options


def _run_one(name: str, seed: int, case: int) -> int:
    fuzzer = fuzzing.load(name)
    made = fuzzer.make(fuzzing.chance(name, seed, case))
    print(made if isinstance(made, str) else repr(made))
    print(fuzzer.outcome(made))
    return 0


if __name__ == "__main__":
    sys.exit(main())
