"""Seconds from page start to the first token, on a visit that finds all caches warm.

    python -m bench.start --models smollm2-135m-instruct,gemma-3-270m --json out.json

Each engine has a browser profile of its own, which it visits twice before anything is timed: its
files are in the HTTP cache then, and the model is in the origin-private file system. The first
token is that of an answer to 12 words of prose.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from contextlib import ExitStack
from pathlib import Path
from statistics import median
from typing import Any

from bench import browser, machine, results_file
from bench.models import find_model
from bench.prompts import make_warm_up
from bench.server import serve

WARM_UP_VISITS = 2
STAY = 6.0
FIGURES = ("ready", "first token")


def main() -> None:
    parser = argparse.ArgumentParser(prog="bench.start", description=__doc__.split("\n")[0])
    add = parser.add_argument
    add("--models", default="smollm2-135m-instruct,gemma-3-270m", help="names or paths, by comma")
    add("--engines", default=",".join(browser.ENGINES), help="by comma")
    add("--threads", type=int, default=1)
    add("--runs", type=int, default=5)
    add("--max-load", type=float, default=0.2, help="cores that others may use")
    add("--patience", type=float, default=30.0, help="seconds to wait for that")
    results_file.add_options(parser)
    options = parser.parse_args()
    models = options.models.split(",")
    engines = options.engines.split(",")
    paths = [find_model(name) for name in models]
    rows: list[dict[str, Any]] = []
    with serve(browser.routes(paths)) as address:
        for index, (name, path) in enumerate(zip(models, paths, strict=True)):
            job = _job(path, f"/model-{index}.gguf", options.threads)
            rows += [{"model": name, **row} for row in _measure(address, job, engines, options)]
    print(_table(rows))
    facts = {**machine.commit(), "command": " ".join(sys.orig_argv)}
    result = {**facts, "machine": machine.machine_facts(), "rows": rows}
    results_file.write(result, options)


def _job(path: Path, url: str, threads: int) -> dict[str, Any]:
    prompt = make_warm_up(path)
    return {
        **{"model_url": url, "threads": threads, "context": 2048, "batch": 512},
        "warm_up": {"ids": prompt.ids, "text": prompt.text},
    }


def _measure(
    address: str, job: dict[str, Any], engines: list[str], options: argparse.Namespace
) -> list[dict[str, Any]]:
    """One row for each engine; they take turns, so that a drift of the machine meets all alike."""
    runs: dict[str, list[dict[str, Any]]] = {engine: [] for engine in engines}
    failures: dict[str, str] = {}
    with ExitStack() as stack:
        profiles = {
            engine: Path(
                stack.enter_context(tempfile.TemporaryDirectory(ignore_cleanup_errors=True))
            )
            for engine in engines
        }
        for visit in range(WARM_UP_VISITS + options.runs):
            warming = visit < WARM_UP_VISITS
            for engine in engines:
                if engine in failures:
                    continue
                load = (
                    0.0 if warming else machine.wait_for_quiet(options.max_load, options.patience)
                )
                page = job | {"engine": browser.ENGINES[engine]}
                stay = STAY if warming else 0.0
                try:
                    figures = browser.start_page(address, page, profiles[engine], stay)
                except RuntimeError as error:
                    failures[engine] = str(error).splitlines()[0]
                    continue
                if not warming:
                    runs[engine].append(figures | {"quiet": load <= options.max_load})
    return [
        {"engine": engine, "error": failures[engine]}
        if engine in failures
        else {
            "engine": engine,
            **{name: median(run[name] for run in runs[engine]) for name in FIGURES},
            "quiet": all(run["quiet"] for run in runs[engine]),
            "runs": runs[engine],
        }
        for engine in engines
    ]


def _table(rows: list[dict[str, Any]]) -> str:
    lines = ["| model | engine | ready s | first token s |", "| --- | --- | --- | --- |"]
    for row in rows:
        if "error" in row:
            figures = f"failed: {row['error']} |"
        else:
            mark = "" if row["quiet"] else "~"
            figures = " | ".join(f"{mark}{row[name]:.2f}" for name in FIGURES)
        lines.append(f"| {row['model']} | {row['engine']} | {figures} |")
    return "\n".join(lines)


if __name__ == "__main__":
    main()
