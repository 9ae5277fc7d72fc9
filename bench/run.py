"""Times the engine beside its peers: ``python -m bench --help``; see docs/benchmarks.md."""

from __future__ import annotations

import argparse
import datetime
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

if not __package__:  # run as a file
    sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from bench import browser, machine, peak, results_file, table
from bench.models import find_model
from bench.prompts import make_prompt, make_warm_up
from bench.server import serve

ROOT = machine.ROOT
HOME = ROOT / "build" / "bench"
TIMEOUT = 900.0

_LLAMACPP = (str(HOME / "venv/bin/python"), "-m", "bench.native_llamacpp")
_WITHOUT_AMX = (str(HOME / "venv-noamx/bin/python"), *_LLAMACPP[1:])
_FLASH_OFF = "--flash-attention=off"
NATIVE = {
    table.OURS: (sys.executable, "-m", "bench.native_ours"),
    "llama.cpp": _LLAMACPP,
    "llama.cpp -fa off": (*_LLAMACPP, _FLASH_OFF),
    "llama.cpp no AMX": _WITHOUT_AMX,
    "llama.cpp no AMX -fa off": (*_WITHOUT_AMX, _FLASH_OFF),
}


@dataclass(frozen=True)
class Setting:
    """One model with a number of threads, in one place."""

    where: str
    model: str
    path: Path
    threads: int
    job: dict[str, Any]


def main() -> int:
    """Run the benchmark that the command line asks for."""
    options = _parse_arguments()
    date = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
    commit = machine.commit()
    runs = list(_run_all(options))
    summary = table.summarize(runs)
    results = {
        "date": date,
        **commit,
        "command": " ".join(sys.orig_argv),
        "machine": machine.machine_facts(),
        "settings": {k: v for k, v in vars(options).items() if k not in ("json", "raw")},
        "versions": sorted({run[k] for run in runs for k in ("version", "browser") if k in run}),
        "decode_limits": [_decode_limit(n, t) for n in options.models for t in options.threads],
        "prefill_limits": [
            limit for place in options.only for limit in _prefill_limits(place, options)
        ],
        "summary": summary,
        "ratios": table.ratios(summary),
        "runs": runs,
    }
    results_file.write(results, options)
    print(table.render(results))
    return 1 if any("error" in row for row in summary) else 0


def _run_all(options: argparse.Namespace) -> Iterator[dict[str, Any]]:
    with serve(browser.routes(map(find_model, options.models))) as address:
        for setting in _settings(options):
            yield from _run_interleaved(setting, options, address)


def _settings(options: argparse.Namespace) -> Iterator[Setting]:
    for index, name in enumerate(options.models):
        path = find_model(name)
        prompt = make_prompt(path, options.prompt_tokens)
        warm_up = make_warm_up(path)
        for threads in options.threads:
            job = {
                "model": str(path),
                "model_url": f"/model-{index}.gguf",
                "threads": threads,
                "context": options.context,
                "batch": options.batch,
                "prompt_ids": prompt.ids,
                "prompt_text": prompt.text,
                "warm_up": {"ids": warm_up.ids, "text": warm_up.text},
                "decode_tokens": options.decode_tokens,
            }
            for where in options.only:
                yield Setting(where, name, path, threads, job)


def _run_interleaved(
    setting: Setting, options: argparse.Namespace, address: str
) -> Iterator[dict[str, Any]]:
    """Run ours, peer, ours, peer ...: a slow drift of the machine then meets all alike."""
    engines = NATIVE if setting.where == "native" else browser.ENGINES
    chosen = [name for name in engines if name in (options.engines or _installed(engines))]
    for _ in range(options.runs):
        for engine in list(chosen):
            run = _run_once(engine, setting, options, address)
            if "error" in run:
                chosen.remove(engine)
            _report(run)
            yield run


def _installed(engines: Iterable[str]) -> list[str]:
    """Leave out the second compilation of llama.cpp where setup.sh did not make it."""
    return [
        name
        for name in engines
        if NATIVE.get(name, ())[:1] != _WITHOUT_AMX[:1] or Path(_WITHOUT_AMX[0]).exists()
    ]


def _run_once(
    engine: str, setting: Setting, options: argparse.Namespace, address: str
) -> dict[str, Any]:
    """Run one engine once, and note how busy others kept the machine before and meanwhile."""
    before = machine.wait_for_quiet(options.max_load, options.patience)
    if options.strict and before > options.max_load:
        raise SystemExit(f"{before:.2f} cores are busy with something else; nothing was timed")
    run: dict[str, Any] = {
        "where": setting.where,
        "model": setting.model,
        "threads": setting.threads,
        "engine": engine,
    }
    others = machine.ForeignLoad()
    run["file_bytes"] = setting.path.stat().st_size
    try:
        if setting.where == "native":
            run |= _run_native(engine, setting.job)
        else:
            run |= browser.run_page(
                address, setting.job | {"engine": browser.ENGINES[engine]}, TIMEOUT
            )
    except RuntimeError as error:
        run["error"] = str(error).strip()
    during = others.cores(run.get("renderer_cpu_seconds", 0.0))
    return run | {
        "foreign_load": [round(before, 3), round(during, 3)],
        "load_average": os.getloadavg()[0],
        "quiet": max(before, during) <= options.max_load,
    }


def _run_native(engine: str, job: dict[str, Any]) -> dict[str, Any]:
    command = NATIVE[engine]
    if not Path(command[0]).exists():
        raise RuntimeError(f"{command[0]} is missing: run bench/setup.sh")
    request = json.dumps(job | {"started": time.monotonic()})
    done = subprocess.run(
        command,
        input=request,
        capture_output=True,
        text=True,
        cwd=ROOT,
        timeout=TIMEOUT,
    )
    if done.returncode:
        last_lines = "\n".join(done.stderr.strip().splitlines()[-3:])
        raise RuntimeError(f"exit code {done.returncode}: {last_lines}")
    result: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return result


def _decode_limit(name: str, threads: int) -> dict[str, Any]:
    """Tokens/s if reading the whole model once a token were all there is to do."""
    size = find_model(name).stat().st_size
    bandwidth = machine.read_bandwidth(size, threads)
    return {
        "model": name,
        "threads": threads,
        "bytes": size,
        "bytes_per_second": round(bandwidth),
        "tokens_per_second": bandwidth / size,
    }


def _prefill_limits(where: str, options: argparse.Namespace) -> Iterator[dict[str, Any]]:
    """Tokens/s if the cores did nothing but the dot products of the blocks' matrices."""
    best = peak.native_peak() if where == "native" else peak.browser_peak()
    for name in options.models:
        products = peak.products_of_a_token(find_model(name))
        for threads in options.threads:
            yield {
                **{"where": where, "model": name, "threads": threads},
                **{"products_per_second": round(best * threads), "products_per_token": products},
                "tokens_per_second": best * threads / products,
            }


def _report(run: dict[str, Any]) -> None:
    figures = run.get("error") or (
        f"ready {run['ready_seconds']:.2f} s, prefill {run['prefill_tokens_per_second']:.1f}, "
        f"decode {run['decode_tokens_per_second']:.1f} tok/s, "
        f"{run['peak_memory_bytes'] / 1e6:.0f} MB"
    )
    disturbed = "" if run["quiet"] else f" (others: {max(run['foreign_load']):.2f} cores)"
    print(
        f"{run['where']} {run['model']} x{run['threads']} {run['engine']}: {figures}{disturbed}",
        file=sys.stderr,
        flush=True,
    )


def _parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="bench", description=__doc__)
    add = parser.add_argument
    add("--only", type=_places, default=["native", "browser"], help="native or browser")
    add(
        "--engines",
        type=_words,
        help="only these, by comma: " + ", ".join(NATIVE | browser.ENGINES),
    )
    add("--models", type=_words, default=["smollm2-135m-instruct"], help="names or paths, by comma")
    add("--threads", type=_numbers, default=[1], help="numbers of threads, by comma")
    add("--runs", type=int, default=5, help="runs of each engine (default 5)")
    add("--prompt-tokens", type=int, default=512)
    add("--decode-tokens", type=int, default=64)
    add("--context", type=int, default=2048)
    add("--batch", type=int, default=512)
    add("--max-load", type=float, default=0.2, help="cores that others may use (default 0.2)")
    add("--patience", type=float, default=30.0, help="seconds to wait for that before each run")
    add("--strict", action="store_true", help="give up instead of marking disturbed runs")
    results_file.add_options(parser)
    return parser.parse_args()


def _words(text: str) -> list[str]:
    return [word.strip() for word in text.split(",")]


def _numbers(text: str) -> list[int]:
    return [int(word) for word in _words(text)]


def _places(text: str) -> list[str]:
    places = _words(text)
    if unknown := set(places) - {"native", "browser"}:
        raise argparse.ArgumentTypeError(f"unknown place {', '.join(unknown)}")
    return places


if __name__ == "__main__":
    raise SystemExit(main())
