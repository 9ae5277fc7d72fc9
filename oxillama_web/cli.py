"""The command `oxillama-web`: fetch, run, chat, info."""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from .errors import OxiLlamaError

if TYPE_CHECKING:
    from .config import SamplerConfig
    from .engine import GenerationEvent, InferenceEngine

DEFAULT_MODEL = "smollm2-135m-instruct"

# The exit code of a shell command that Ctrl-C ended.
_INTERRUPTED = 130


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs a command; returns its exit code: 0, 1 (an error, in one line on stderr), or 130."""
    options = _parser().parse_args(arguments)
    try:
        options.command(options)
    except BrokenPipeError:
        # what reads our output has gone; closing stdout again must not complain
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except KeyboardInterrupt:
        print(file=sys.stderr)
        return _INTERRUPTED
    except (OxiLlamaError, OSError) as error:
        print(f"oxillama-web: {error}", file=sys.stderr)
        return 1
    return 0


def _fetch(options: argparse.Namespace) -> None:
    from .models import fetch

    print(fetch(options.name))


def _run(options: argparse.Namespace) -> None:
    engine = _load(options)
    if options.raw or not engine.has_chat_template:
        events = engine.events(options.prompt, options.max_tokens, sampler=_sampler(options))
    else:
        messages = [{"role": "user", "content": options.prompt}]
        events = engine.chat_events(messages, options.max_tokens, sampler=_sampler(options))
    _print_answer(events)


def _chat(options: argparse.Namespace) -> None:
    engine = _load(options)
    messages: list[dict[str, str]] = []
    if options.system:
        messages.append({"role": "system", "content": options.system})
    print("Ctrl-D ends the chat, Ctrl-C an answer.", file=sys.stderr)
    while (text := _ask()) is not None:
        messages.append({"role": "user", "content": text})
        events = engine.chat_events(messages, options.max_tokens, sampler=_sampler(options))
        messages.append({"role": "assistant", "content": _print_answer(events)})


def _info(options: argparse.Namespace) -> None:
    import mmap

    from .gguf import GGUFFile
    from .quants import FORMATS

    with options.file.open("rb") as file:
        if not file.seek(0, os.SEEK_END):
            raise OxiLlamaError(f"{options.file} is empty; download it again")
        gguf = GGUFFile(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ))
    n_bytes = sum(tensor.nbytes for tensor in gguf.tensors.values())
    formats = Counter(FORMATS[tensor.format].name for tensor in gguf.tensors.values())
    print(f"GGUF version   {gguf.version}")
    print(f"tensors        {len(gguf.tensors)}, {n_bytes / 1e6:.1f} MB")
    print(f"formats        {', '.join(f'{n} {name}' for name, n in formats.most_common())}")
    for key in gguf.metadata:
        value = gguf.metadata[key]
        text = f"[{len(value)} values]" if isinstance(value, list) else _one_line(str(value))
        print(f"{key} = {text}")
    if options.tensors:
        for tensor in gguf.tensors.values():
            shape = " x ".join(map(str, tensor.shape))
            print(f"{tensor.name}: {FORMATS[tensor.format].name} {shape}")


def _load(options: argparse.Namespace) -> InferenceEngine:
    from .config import EngineConfig
    from .engine import InferenceEngine
    from .models import MODELS, fetch

    path = fetch(options.model) if options.model in MODELS else Path(options.model)
    engine = InferenceEngine(
        EngineConfig(
            model_path=str(path),
            tokenizer_path=options.tokenizer,
            context_size=options.context_size,
            num_threads=options.threads,
            executor=options.executor,
        )
    )
    engine.load_model()
    return engine


def _sampler(options: argparse.Namespace) -> SamplerConfig:
    from .config import SamplerConfig

    return SamplerConfig(
        temperature=options.temperature,
        top_k=options.top_k,
        top_p=options.top_p,
        min_p=options.min_p,
        repetition_penalty=options.repetition_penalty,
        seed=options.seed,
    )


def _print_answer(events: Iterator[GenerationEvent]) -> str:
    """Streams an answer to stdout, its figures to stderr; Ctrl-C ends it. Returns the text."""
    pieces: list[str] = []
    start = first = time.perf_counter()
    n_prompt = n_tokens = 0
    try:
        for event in events:
            if event.phase == "prefill":
                n_prompt, first = event.n_done, time.perf_counter()
            else:
                n_tokens = event.n_done
            if event.text:
                pieces.append(event.text)
                print(event.text, end="", flush=True)
    except KeyboardInterrupt:
        print(" [stopped]", end="", file=sys.stderr)
    end = time.perf_counter()
    print()
    print(
        f"prompt: {n_prompt} tokens, {n_prompt / max(first - start, 1e-9):.0f}/s; "
        f"answer: {n_tokens} tokens, {n_tokens / max(end - first, 1e-9):.1f}/s",
        file=sys.stderr,
    )
    return "".join(pieces)


def _ask() -> str | None:
    try:
        return input("> ")
    except EOFError:
        print()
        return None


def _one_line(text: str, limit: int = 80) -> str:
    text = " ".join(text.split())
    return text if len(text) <= limit else text[: limit - 1] + "…"


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="oxillama-web", description="Runs GGUF language models in pure Python and C kernels."
    )
    commands = parser.add_subparsers(metavar="COMMAND", required=True)

    fetch = commands.add_parser("fetch", help="get a known model; prints its path")
    fetch.add_argument("name", metavar="NAME", help="smollm2-135m-instruct or gemma-3-270m")
    fetch.set_defaults(command=_fetch)

    run = commands.add_parser("run", help="answer one prompt")
    run.add_argument("prompt", metavar="PROMPT")
    run.add_argument("--raw", action="store_true", help="continue the prompt; no chat template")
    run.set_defaults(command=_run)

    chat = commands.add_parser("chat", help="talk with a model")
    chat.add_argument("--system", metavar="TEXT", help="what the model is told first")
    chat.set_defaults(command=_chat)

    for command in (run, chat):
        _add_model_options(command)

    info = commands.add_parser("info", help="what a GGUF file holds")
    info.add_argument("file", metavar="FILE", type=Path)
    info.add_argument("--tensors", action="store_true", help="list every tensor")
    info.set_defaults(command=_info)
    return parser


def _add_model_options(command: argparse.ArgumentParser) -> None:
    add = command.add_argument
    add("--model", default=DEFAULT_MODEL, help=f"a file or a known name ({DEFAULT_MODEL})")
    add("--tokenizer", metavar="FILE", help="a tokenizer.json to use instead of the file's own")
    add("--max-tokens", type=int, default=256, metavar="N")
    add("--context-size", type=int, metavar="N", help="tokens of context (the model's own)")
    add("--threads", type=int, default=os.cpu_count() or 1, metavar="N")
    add("--executor", choices=("auto", "kernels", "numpy"), default="auto")
    add("--temperature", type=float, default=0.7, metavar="T", help="0 is greedy")
    add("--top-k", type=int, default=40, metavar="N", help="0 keeps all")
    add("--top-p", type=float, default=0.9, metavar="P")
    add("--min-p", type=float, default=0.0, metavar="P")
    add("--repetition-penalty", type=float, default=1.1, metavar="R")
    add("--seed", type=int, metavar="N", help="the same seed gives the same text")
