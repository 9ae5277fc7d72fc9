"""The native measurement itself, the same for every engine; each runs it in a fresh process.

A worker (``python -m bench.native_ours``) reads a job from standard input and prints one JSON line.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Sequence
from typing import Any, Protocol, TypedDict

from bench.machine import peak_memory

WARM_UP_DECODE = 4


class Job(TypedDict):
    """What a worker measures; ``started`` is the monotonic time at which it was spawned."""

    model: str
    threads: int
    prompt_ids: list[int]
    warm_up: dict[str, Any]
    decode_tokens: int
    context: int
    batch: int
    started: float


class Session(Protocol):
    """A loaded model with one sequence; both steps return the token of the largest logit."""

    version: str

    def prefill(self, tokens: Sequence[int]) -> int:
        """Process ``tokens`` from position 0 on, forgetting whatever was there."""

    def decode(self, token: int, position: int) -> int:
        """Process one token at ``position``."""


def run_worker(load: Callable[[Job], Session]) -> None:
    """Read a job, measure it, print the result as one JSON line."""
    job: Job = json.load(sys.stdin)
    print(json.dumps(measure(job, load)))


def measure(job: Job, load: Callable[[Job], Session]) -> dict[str, Any]:
    """Load the model, warm up, then time one prefill and ``decode_tokens`` greedy steps."""
    session = load(job)
    ready = time.monotonic() - job["started"]
    prompt = job["prompt_ids"]
    _greedy(session, job["warm_up"]["ids"], WARM_UP_DECODE)

    start = time.perf_counter()
    first = session.prefill(prompt)
    prefilled = time.perf_counter()
    generated = _continue(session, first, len(prompt), job["decode_tokens"])
    decoded = time.perf_counter()
    return {
        "version": session.version,
        "ready_seconds": ready,
        "prefill_tokens_per_second": len(prompt) / (prefilled - start),
        "decode_tokens_per_second": job["decode_tokens"] / (decoded - prefilled),
        "peak_memory_bytes": peak_memory(),
        "prompt_tokens": len(prompt),
        "decode_tokens": job["decode_tokens"],
        "generated": generated,
    }


def _greedy(session: Session, prompt: Sequence[int], steps: int) -> list[int]:
    return _continue(session, session.prefill(prompt), len(prompt), steps)


def _continue(session: Session, token: int, position: int, steps: int) -> list[int]:
    """Decode ``steps`` tokens, past any end-of-text token; return the tokens they led to."""
    generated = []
    for step in range(steps):
        token = session.decode(token, position + step)
        generated.append(token)
    return generated
