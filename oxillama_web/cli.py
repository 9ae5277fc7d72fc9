"""The command `oxillama-web`: fetch, run, chat, serve, info."""

from __future__ import annotations

import argparse
import contextlib
import functools
import io
import os
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from . import __version__
from .errors import ChatTemplateError, InvalidRequestError, OxiLlamaError
from .gguf.files import read_text_file
from .sampling import SamplerConfig
from .terminal import FAILED, escaped, for_stdout, run_command, tell, waiting_for_input

if TYPE_CHECKING:
    from .config import EngineConfig
    from .engine import InferenceEngine
    from .inference.generation import GenerationEvent

DEFAULT_MODEL = "smollm2-135m-instruct"

_USAGE = 2
# Ctrl-C ends an answer between two forward passes. Those of a long prompt take about so long.
_PREFILL_SECONDS = 0.5


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command.

    Returns:
        The exit code: 0 for success; 1 for an error, which is one line on stderr; 2 for arguments
        that make no sense, likewise; 128 + n for signal n, so 130 for Ctrl-C.
    """
    return run_command("oxillama-web", functools.partial(_run_command, arguments))


def _run_command(arguments: Sequence[str] | None) -> int:
    parser = _parser()
    if not (sys.argv[1:] if arguments is None else arguments):
        parser.print_help(sys.stderr)
        return _USAGE
    options = parser.parse_args(arguments)
    for stream in (sys.stdin, sys.stdout):
        if isinstance(stream, io.TextIOWrapper):
            # a character that the terminal lacks is replaced; it does not end the answer
            stream.reconfigure(errors="replace")
    try:
        options.command(options)
    except OxiLlamaError as error:
        tell(f"oxillama-web: {error}")
        return _USAGE if isinstance(error, InvalidRequestError) else FAILED
    return 0


def _fetch(options: argparse.Namespace) -> None:
    from .hub.models import MODELS, fetch

    if options.name is not None:
        print(fetch(options.name))
        return
    for model in MODELS.values():
        print(f"{model.name:<24}{model.size / 1e6:.0f} MB, {model.architecture}, {model.languages}")
        print(f"{'':<24}{model.good_for}")
        print(f"{'':<24}licence: {model.licence}")


def _run(options: argparse.Namespace) -> None:
    sampler = _sampler(options)
    prompt = _stdin() if options.prompt == "-" else options.prompt
    engine = _load(options)
    if options.raw or not engine.has_chat_template:
        events = engine.events(prompt, options.max_tokens, sampler=sampler)
    else:
        messages = [*_system_message(options), {"role": "user", "content": prompt}]
        events = engine.chat_events(messages, options.max_tokens, sampler=sampler)
    _, interrupted = _print_answer(events)
    if interrupted:
        raise KeyboardInterrupt


def _chat(options: argparse.Namespace) -> None:
    sampler = _sampler(options)
    engine = _load(options)
    if not engine.has_chat_template:
        raise ChatTemplateError(
            f"{options.model} has no chat template; continue a text instead: oxillama-web run --raw"
        )
    with contextlib.suppress(ImportError):
        import readline  # noqa: F401 - gives input() its editing and history
    messages = _system_message(options)
    tell("Ctrl-D ends the chat, Ctrl-C an answer.")
    while (text := _ask()) is not None:
        if not text.strip():
            continue
        messages.append({"role": "user", "content": text})
        events = engine.chat_events(messages, options.max_tokens, sampler=sampler)
        answer, _ = _print_answer(events)
        messages.append({"role": "assistant", "content": answer})


def _serve(options: argparse.Namespace) -> None:
    from .server.command import PORT, ServerConfig, check_installed, serve

    check_installed()
    PORT("port", options.port)
    keys = tuple(options.api_key or filter(None, [os.environ.get("OXILLAMA_API_KEY")]))
    serve(_load(options), options.host, options.port, ServerConfig(api_keys=keys))


def _info(options: argparse.Namespace) -> None:
    from .architectures import supported_architectures
    from .gguf.describe import describe, describe_metadata, describe_tensors
    from .hub.inspection import inspect

    report = inspect(options.file)
    gguf = report.gguf
    print("\n".join(describe(gguf, supported_architectures())))
    if report.is_supported:
        context = f"with a context of {report.memory_context} tokens"
        print(f"{'memory':<15}{report.memory_bytes / 1e6:.0f} MB {context}")
    print(f"{'runs here':<15}{escaped(report.problem and f'no: {report.problem}') or 'yes'}")
    if options.metadata:
        print("\n".join(["", *describe_metadata(gguf)]))
    if options.tensors:
        print("\n".join(["", *describe_tensors(gguf)]))


def _load(options: argparse.Namespace) -> InferenceEngine:
    from .engine import InferenceEngine

    engine = InferenceEngine(_engine_config(options))
    engine.load_model()
    return engine


def _engine_config(options: argparse.Namespace) -> EngineConfig:
    from dataclasses import replace

    from .config import EngineConfig

    # the options are checked before a model is downloaded
    config = EngineConfig(
        tokenizer_path=options.tokenizer,
        context_size=options.context_size,
        num_threads=options.threads,
        executor=options.executor,
        prefill_seconds=_PREFILL_SECONDS,
    )
    return replace(config, model_path=str(_model_path(options.model)))


def _model_path(model: str) -> Path:
    from .hub.addresses import is_address
    from .hub.models import MODELS, fetch

    path = Path(model)
    if model in MODELS or (is_address(model) and not path.exists()):
        return fetch(model)
    if not path.exists():
        raise FileNotFoundError(
            f"there is no file {model!r}, and no known model of that name; the known models are "
            f"{', '.join(MODELS)}; or name a repository of the model hub, such as hf:owner/name"
        )
    return path


def _sampler(options: argparse.Namespace) -> SamplerConfig:
    schema = _text(options.json_schema)
    return SamplerConfig(
        **{name: getattr(options, name) for name in _SAMPLING},
        stop=tuple(options.stop),
        grammar=_text(options.grammar),
        json_schema=schema or ({"type": "object"} if options.json else None),
        seed=options.seed,
    )


def _text(file: str | None) -> str | None:
    if file is None:
        return None
    try:
        return read_text_file(Path(file)).decode("utf-8")
    except UnicodeDecodeError as error:
        raise InvalidRequestError(f"{file} is not UTF-8 text") from error


def _system_message(options: argparse.Namespace) -> list[dict[str, str]]:
    return [{"role": "system", "content": options.system}] if options.system else []


def _print_answer(events: Iterator[GenerationEvent]) -> tuple[str, bool]:
    """Stream an answer to stdout and its statistics to stderr.

    Returns:
        The text, and whether Ctrl-C ended it.
    """
    pieces: list[str] = []
    token_times: list[float] = []
    n_prompt = 0
    interrupted = False
    start = prompt_end = time.perf_counter()
    try:
        for event in events:
            if event.phase == "prefill":
                n_prompt, prompt_end = event.n_done, time.perf_counter()
            elif event.token is not None:
                token_times.append(time.perf_counter())
            if event.text:
                pieces.append(event.text)
                print(for_stdout(event.text), end="", flush=True)
    except KeyboardInterrupt:
        interrupted = True
    print(flush=True)
    prompt_rate = n_prompt / max(prompt_end - start, 1e-9)
    tell(
        f"[prompt: {n_prompt} tokens, {prompt_rate:.0f}/s; answer: {len(token_times)} tokens, "
        f"{_rate(token_times):.1f}/s{'; stopped' if interrupted else ''}]"
    )
    return "".join(pieces), interrupted


def _rate(times: list[float]) -> float:
    """Return events per second. The first one does not count, because it waits for the prompt."""
    return (len(times) - 1) / max(times[-1] - times[0], 1e-9) if len(times) > 1 else 0.0


def _stdin() -> str:
    if sys.stdin is None:
        raise OSError("stdin is closed; give the prompt as an argument")
    with waiting_for_input():
        return sys.stdin.read()


def _ask() -> str | None:
    if sys.stdin is None:
        return None
    try:
        with waiting_for_input():
            return input("> " if sys.stdin.isatty() else "")
    except EOFError:
        return None


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="oxillama-web",
        description="Runs GGUF language models in Python, with C kernels.",
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"oxillama-web {__version__}")
    commands = parser.add_subparsers(metavar="COMMAND", required=True)

    fetch = commands.add_parser("fetch", help="download a model; the last line is its path")
    fetch.add_argument(
        "name", metavar="NAME", nargs="?", help=f"{_MODEL_FORMS}; without it, list the known names"
    )
    fetch.set_defaults(command=_fetch)

    run = commands.add_parser("run", help="answer one prompt")
    run.add_argument("prompt", metavar="PROMPT", help="the text, or - to read it from stdin")
    run.add_argument("--raw", action="store_true", help="use no chat template")
    run.set_defaults(command=_run)

    chat = commands.add_parser("chat", help="chat with a model")
    chat.set_defaults(command=_chat)

    for command in (run, chat):
        _add_model_options(command)
        _add_answer_options(command)

    serve = commands.add_parser("serve", help="serve a model with OpenAI's API over HTTP")
    serve.add_argument("--host", default="127.0.0.1", help="who can reach it (127.0.0.1: only you)")
    serve.add_argument("--port", type=int, default=8080, help="(8080)")
    serve.add_argument(
        "--api-key",
        action="append",
        metavar="KEY",
        help="what clients must send; repeatable (the environment's OXILLAMA_API_KEY)",
    )
    _add_model_options(serve)
    serve.set_defaults(command=_serve)

    info = commands.add_parser("info", help="describe a model, whose weights are not downloaded")
    info.add_argument("file", metavar="MODEL", help="a file, or as in `oxillama-web fetch --help`")
    info.add_argument("--metadata", action="store_true", help="list every key and value as well")
    info.add_argument("--tensors", action="store_true", help="list every tensor as well")
    info.set_defaults(command=_info)
    return parser


def _add_model_options(command: argparse.ArgumentParser) -> None:
    add = command.add_argument
    add("--model", default=DEFAULT_MODEL, help=f"a file, {_MODEL_FORMS} ({DEFAULT_MODEL})")
    add("--tokenizer", metavar="FILE", help="a tokenizer.json to use instead of the file's own")
    add("--context-size", type=int, metavar="N", help="tokens of context (the model's own)")
    add("--threads", type=int, default=os.cpu_count() or 1, metavar="N", help="(all processors)")
    add("--executor", choices=("auto", "kernels", "numpy"), default="auto")


def _add_answer_options(command: argparse.ArgumentParser) -> None:
    add = command.add_argument
    add("--system", metavar="TEXT", help="the system message")
    add("--max-tokens", type=int, default=256, metavar="N", help="most tokens of an answer (256)")
    add("--seed", type=int, metavar="N", help="the same seed gives the same text")
    add(
        "--stop",
        action="append",
        default=[],
        metavar="TEXT",
        help="ends the answer; repeatable",
    )
    form = command.add_mutually_exclusive_group()
    form.add_argument("--json", action="store_true", help="the answer is a JSON object")
    form.add_argument("--json-schema", metavar="FILE", help="the answer follows the schema")
    form.add_argument("--grammar", metavar="FILE", help="the answer follows this GBNF grammar")
    sampling = command.add_argument_group("which token comes next", "docs/sampling.md tells more")
    defaults = SamplerConfig()
    for name, explanation in _SAMPLING.items():
        value = getattr(defaults, name)
        sampling.add_argument(
            f"--{name.replace('_', '-')}",
            type=type(value),
            default=value,
            metavar="N" if isinstance(value, int) else "X",
            help=f"{explanation} ({value:g})",
        )


_MODEL_FORMS = "a known name, hf:owner/repository[:quantization], or an address"

_EXAMPLES = f"""\
`oxillama-web chat` talks with a small model, {DEFAULT_MODEL}, which it downloads once.
`oxillama-web COMMAND --help` lists the options of a command.
"""

# Fields of SamplerConfig, and what they do.
_SAMPLING = {
    "temperature": "higher varies more; 0 takes the most probable token",
    "top_k": "keep this many of the most probable; 0 keeps all",
    "top_p": "keep the most probable that sum to this; 1 keeps all",
    "min_p": "keep those this fraction as probable as the first; 0 keeps all",
    "typical_p": "keep those of about the expected surprisal; 1 keeps all",
    "repetition_penalty": "against recent tokens; 1 is off",
    "repetition_penalty_window": "how many tokens are recent",
    "frequency_penalty": "against recent tokens, for each occurrence; 0 is off",
    "presence_penalty": "against recent tokens, once; 0 is off",
    "dry_multiplier": "against repeated phrases, about 0.8; 0 is off",
    "xtc_threshold": "drop all but the last of those this probable; 0 is off",
    "xtc_probability": "how often",
    "dynatemp_range": "let the temperature vary by this much; 0 is off",
    "mirostat": "1 or 2 keep the surprisal even, instead of filters; 0 is off",
    "mirostat_tau": "the target surprisal, in bits",
    "mirostat_eta": "the learning rate",
}
