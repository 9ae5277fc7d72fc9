"""Times tokenizers: test_tokenizer_speed.py runs it in Pyodide."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from oxillama_web.backends.kernels.library import load_library
from oxillama_web.backends.kernels.strings import KernelStrings
from oxillama_web.gguf.reader import try_parse_header
from oxillama_web.tokenizer import Tokenizer, load_gguf_vocabulary, load_tokenizer_json

FOLDER = Path("/tmp")
FILE_SIZE = 1 << 32
N_ROUNDS = 4

T = TypeVar("T")


def run() -> str:
    """As JSON: time until a tokenizer is ready, and for each text, in units of plain_work.

    A tokenizer is ready once it has encoded something: some tables are made only then. Each round
    has a tokenizer of its own, which has seen no word before; the best of some rounds counts.
    """
    texts: dict[str, str] = json.loads((FOLDER / "texts.json").read_text("utf-8"))
    headers = {name: (FOLDER / f"{name}.gguf").read_bytes() for name in ("smollm2", "gemma3")}
    tokenizer_json = (FOLDER / "tokenizer.json").read_text("utf-8")
    loaders = {
        "smollm2": lambda: from_header(headers["smollm2"]),
        "smollm2_json": lambda: load_tokenizer_json(tokenizer_json),
        "gemma3": lambda: from_header(headers["gemma3"]),
    }
    return json.dumps({name: best(load, texts) for name, load in loaders.items()})


def from_header(header: bytes) -> Tokenizer:
    """The tokenizer of a GGUF file of which only the header is there."""
    gguf = try_parse_header(header, FILE_SIZE, string_kernels=KernelStrings(load_library()))
    assert gguf is not None
    return load_gguf_vocabulary(gguf.metadata)


def best(load: Callable[[], Tokenizer], texts: dict[str, str]) -> dict[str, float]:
    """The least of several rounds, by what was done."""
    rounds = [one_round(load, texts) for _ in range(N_ROUNDS)]
    return {name: min(times[name] for times in rounds) for name in rounds[0]}


def one_round(load: Callable[[], Tokenizer], texts: dict[str, str]) -> dict[str, float]:
    """Times by what was done."""
    re.purge()  # compiled patterns of the round before
    tokenizer, ready = timed(lambda: made_ready(load))
    times = {"ready": ready}
    for name, text in texts.items():
        _, times[name] = timed(lambda text=text: tokenizer.encode(text))
    return times


def made_ready(load: Callable[[], Tokenizer]) -> Tokenizer:
    """A tokenizer that has its tables."""
    tokenizer = load()
    tokenizer.encode("Hello")
    return tokenizer


def timed(task: Callable[[], T]) -> tuple[T, float]:
    """What a task returns, and its time over that of plain work right before it.

    A slow machine slows both.
    """
    start = time.perf_counter()
    plain_work()
    middle = time.perf_counter()
    result = task()
    return result, (time.perf_counter() - middle) / (middle - start)


def plain_work() -> None:
    """20,000 words counted, one by one."""
    counts: dict[str, int] = {}
    for number in range(20_000):
        word = str(number & 0xFFF)
        counts[word] = counts.get(word, 0) + 1
