"""The command line, on tiny models of random weights."""

from __future__ import annotations

import io
import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from gguf_files import write_tiny_llama

from oxillama_web import SamplerConfig, __version__, cli
from oxillama_web.cli import main
from oxillama_web.engine import InferenceEngine
from oxillama_web.hub import models
from oxillama_web.hub.download import file_sha256
from oxillama_web.inference.generation import GenerationEvent

CHAT_TEMPLATE = (
    "{% for message in messages %}{{ message.role }}: {{ message.content }}\n{% endfor %}"
    "{% if add_generation_prompt %}assistant: {% endif %}"
)
FIGURES = re.compile(
    r"^\[prompt: (\d+) tokens, \d+/s; answer: (\d+) tokens, [\d.]+/s(; stopped)?\]$", re.MULTILINE
)


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> str:
    path = tmp_path_factory.mktemp("cli") / "tiny.gguf"
    write_tiny_llama(path, context_length=4096, chat_template=CHAT_TEMPLATE)
    return str(path)


@pytest.fixture(scope="module")
def base_model(tmp_path_factory: pytest.TempPathFactory) -> str:
    path = tmp_path_factory.mktemp("cli") / "base.gguf"
    write_tiny_llama(path)
    return str(path)


def start(*arguments: str, **options: object) -> subprocess.Popen[str]:
    """The command in a process of its own."""
    return subprocess.Popen(
        [sys.executable, "-m", "oxillama_web", *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        **options,  # type: ignore[call-overload]
    )


def error_line(captured: str) -> str:
    """The one line on stderr, without the program's name."""
    (line,) = captured.splitlines()
    assert line.startswith("oxillama-web: ")
    return line.removeprefix("oxillama-web: ")


def test_no_arguments_and_the_version(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([]) == 2
    told = capsys.readouterr().err
    assert "oxillama-web chat" in told and "answer one prompt" in told
    with pytest.raises(SystemExit) as exit_code:
        main(["--version"])
    assert exit_code.value.code == 0
    assert capsys.readouterr().out == f"oxillama-web {__version__}\n"


@pytest.mark.parametrize("arguments", [["unknown"], ["run"], ["run", "--top-k", "x", "hi"]])
def test_wrong_usage_exits_with_2(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as exit_code:
        main(arguments)
    assert exit_code.value.code == 2
    assert "usage: oxillama-web" in capsys.readouterr().err


def test_help_names_the_commands_and_imports_no_numpy() -> None:
    code = (
        "import sys; from oxillama_web.cli import main\n"
        "try: main(['--help'])\n"
        "finally: print('numpy' in sys.modules, 'jinja2' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert re.findall(r"^    (\w+)", done.stdout, re.MULTILINE) == [
        "fetch",
        "run",
        "chat",
        "serve",
        "info",
    ]
    assert done.stdout.endswith("False False\n")


def test_fetch_prints_the_path_as_the_last_line(
    model: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    content = Path(model).read_bytes()
    known = models.KnownModel(
        "tiny", "tiny.gguf", len(content), file_sha256(Path(model)), "none", parts=()
    )
    monkeypatch.setitem(models.MODELS, "tiny", known)
    monkeypatch.setenv("OXILLAMA_CACHE", str(tmp_path))
    (tmp_path / "tiny.gguf").write_bytes(content)
    assert main(["fetch", "tiny"]) == 0
    assert capsys.readouterr().out.splitlines()[-1] == str(tmp_path / "tiny.gguf")


def test_fetch_of_an_unknown_name_lists_the_known_ones(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["fetch", "nonesuch"]) == 2
    line = error_line(capsys.readouterr().err)
    assert "nonesuch" in line
    assert "smollm2-135m-instruct" in line
    assert "gemma-3-270m" in line


def test_run_streams_text_to_stdout_and_figures_to_stderr(
    base_model: str, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["run", "--model", base_model, "--max-tokens", "8", "--seed", "3", "the fox"]
    assert main(arguments) == 0
    first = capsys.readouterr()
    assert first.out.strip()
    figures = FIGURES.search(first.err)
    assert figures is not None
    assert 1 <= int(figures[2]) <= 8
    assert main(arguments) == 0
    assert capsys.readouterr().out == first.out, "the same seed gave another text"


def test_run_uses_the_chat_template_unless_told_not_to(
    model: str, capsys: pytest.CaptureFixture[str]
) -> None:
    engine = InferenceEngine()
    engine.load_model_from_bytes(Path(model).read_bytes())
    chat = engine.tokenize("system: be kind\nuser: the fox\nassistant: ")
    options = ["--model", model, "--max-tokens", "1"]
    n_prompt = []
    for more in (["--system", "be kind"], ["--raw"]):
        assert main(["run", *options, *more, "the fox"]) == 0
        figures = FIGURES.search(capsys.readouterr().err)
        assert figures is not None
        n_prompt.append(int(figures[1]))
    assert n_prompt == [len(chat), len(engine.tokenize("the fox"))]


def test_every_sampling_option_reaches_the_sampler() -> None:
    changes = {
        "temperature": 0.5, "top_k": 3, "top_p": 0.5, "min_p": 0.1, "typical_p": 0.5,
        "repetition_penalty": 1.5, "repetition_penalty_window": 5, "frequency_penalty": 0.5,
        "presence_penalty": 0.5, "dry_multiplier": 0.8, "xtc_threshold": 0.1,
        "xtc_probability": 0.9, "dynatemp_range": 0.3, "mirostat": 2, "mirostat_tau": 4.0,
        "mirostat_eta": 0.2, "seed": 4,
    }  # fmt: skip
    arguments = [f"--{name.replace('_', '-')}={value}" for name, value in changes.items()]
    options = cli._parser().parse_args(["run", *arguments, "--stop=a", "--stop=b", "hello"])
    assert cli._sampler(options) == SamplerConfig(**changes, stop=("a", "b"))
    defaults = cli._parser().parse_args(["chat"])
    assert cli._sampler(defaults) == SamplerConfig()


def test_the_answers_form(model: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    schema, grammar = tmp_path / "schema.json", tmp_path / "form.gbnf"
    schema.write_text('{"enum": ["yes", "no"]}')
    grammar.write_text('root ::= "maybe"')
    run = ["run", "--model", model, "--max-tokens", "300", "--seed", "3", "hello"]
    assert main([*run, "--json-schema", str(schema)]) == 0
    assert json.loads(capsys.readouterr().out) in ("yes", "no")
    assert main([*run, "--grammar", str(grammar)]) == 0
    assert capsys.readouterr().out == "maybe\n"
    assert main([*run, "--json"]) == 0
    assert capsys.readouterr().out.startswith("{")


@pytest.mark.parametrize(
    ("content", "words"), [(b"\xff\xfe", "UTF-8"), (b"root ::= (", "grammar"), (None, "No such")]
)
def test_a_broken_grammar_is_told_in_one_line(
    model: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    content: bytes | None,
    words: str,
) -> None:
    file = tmp_path / "form.gbnf"
    if content is not None:
        file.write_bytes(content)
    assert main(["run", "--model", model, "--grammar", str(file), "hello"]) in (1, 2)
    assert words in error_line(capsys.readouterr().err)


def test_run_reads_the_prompt_from_stdin(
    base_model: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    options = ["--model", base_model, "--max-tokens", "4", "--temperature", "0"]
    assert main(["run", *options, "the fox"]) == 0
    expected = capsys.readouterr().out
    monkeypatch.setattr("sys.stdin", io.StringIO("the fox"))
    assert main(["run", *options, "-"]) == 0
    assert capsys.readouterr().out == expected


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("--temperature", "-1"),
        ("--top-p", "2"),
        ("--min-p", "-0.5"),
        ("--threads", "0"),
        ("--context-size", "0"),
        ("--max-tokens", "-1"),
    ],
)
def test_values_out_of_range_exit_with_2(
    base_model: str, option: str, value: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["run", "--model", base_model, option, value, "the fox"]) == 2
    assert value in error_line(capsys.readouterr().err)


@pytest.mark.parametrize("command", [["run", "hello"], ["chat"]])
def test_a_missing_model_is_told_in_one_line(
    command: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([*command, "--model", "nowhere.gguf"]) == 1
    line = error_line(capsys.readouterr().err)
    assert "nowhere.gguf" in line
    assert "smollm2-135m-instruct" in line


@pytest.mark.parametrize("content", [b"", b"GGUF", b"no model at all"])
def test_a_broken_model_is_told_in_one_line(
    content: bytes, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "broken.gguf"
    path.write_bytes(content)
    for command in (["run", "--model", str(path), "hello"], ["info", str(path)]):
        assert main(command) == 1
        assert error_line(capsys.readouterr().err)


def test_a_prompt_too_long_for_the_context_gives_both_numbers(
    base_model: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["run", "--model", base_model, "--context-size", "4", "x" * 9]) == 1
    assert "9 tokens" in (line := error_line(capsys.readouterr().err))
    assert "takes 4" in line


def test_chat_remembers_and_skips_empty_lines(
    model: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    conversations: list[list[dict[str, str]]] = []

    def answer(
        self: InferenceEngine, messages: list[dict[str, str]], max_tokens: int, *, sampler: object
    ) -> list[GenerationEvent]:
        conversations.append(list(messages))
        number = len(conversations)
        return [GenerationEvent("decode", f"answer {number}", 1, 1, max_tokens, "stop")]

    monkeypatch.setattr(InferenceEngine, "chat_events", answer)
    monkeypatch.setattr("sys.stdin", io.StringIO("one\n\n  \ntwo\n"))
    assert main(["chat", "--model", model, "--system", "be kind"]) == 0
    assert capsys.readouterr().out == "answer 1\nanswer 2\n"
    assert conversations[-1] == [
        {"role": "system", "content": "be kind"},
        {"role": "user", "content": "one"},
        {"role": "assistant", "content": "answer 1"},
        {"role": "user", "content": "two"},
    ]


def test_chat_needs_a_template(base_model: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["chat", "--model", base_model]) == 1
    assert "no chat template" in error_line(capsys.readouterr().err)


def test_info_shows_what_the_file_holds(model: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["info", model]) == 0
    rows = dict(line.split(None, 1) for line in capsys.readouterr().out.splitlines())
    assert rows["architecture"] == "llama"
    assert rows["layers"] == "2"
    assert rows["vocabulary"] == "320 tokens, gpt2"
    assert rows["Q8_0"].endswith("in 16")
    assert main(["info", "--metadata", "--tensors", model]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert "llama.embedding_length = 64" in lines
    assert "tokenizer.ggml.tokens = [320 values]" in lines
    assert "blk.1.ffn_down.weight: Q8_0 96 x 64" in lines


def test_info_lets_no_file_steer_the_terminal(
    model: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    content = Path(model).read_bytes()
    path = tmp_path / "steering.gguf"
    path.write_bytes(content.replace(b"assistant: ", b"\x1b[2J\x1b]0;xx "))
    assert main(["info", "--metadata", str(path)]) == 0
    assert "\x1b" not in capsys.readouterr().out


@pytest.mark.skipif(sys.platform == "win32", reason="signals and pipes of POSIX")
class TestProcess:
    """What only a process of its own can show."""

    # greedy and without a penalty, random weights repeat themselves to the end of the context
    ENDLESS = ("--max-tokens", "100000", "--temperature", "0", "--repetition-penalty", "1")

    def test_ctrl_c_ends_an_answer_with_130(self, model: str) -> None:
        with start("run", "--model", model, *self.ENDLESS, "hi") as process:
            assert process.stdout is not None
            process.stdout.read(1)
            process.send_signal(signal.SIGINT)
            _, errors = process.communicate(timeout=60)
        assert process.returncode == 130
        assert "Traceback" not in errors
        assert FIGURES.search(errors) is not None

    def test_ctrl_c_ends_an_answer_of_a_chat_and_not_the_chat(self, model: str) -> None:
        arguments = ("chat", "--model", model, *self.ENDLESS)
        with start(*arguments, stdin=subprocess.PIPE) as process:
            assert process.stdin is not None
            assert process.stdout is not None
            print("hi", file=process.stdin, flush=True)
            process.stdout.read(1)
            process.send_signal(signal.SIGINT)
            _, errors = process.communicate("again\n", timeout=60)
        assert process.returncode == 0
        assert [figures[2] for figures in FIGURES.findall(errors)] == ["; stopped", ""]

    def test_a_reader_that_leaves_causes_no_complaint(self, model: str) -> None:
        with start("run", "--model", model, *self.ENDLESS, "hi") as process:
            assert process.stdout is not None
            process.stdout.read(1)
            process.stdout.close()
            assert process.stderr is not None
            errors = process.stderr.read()
            assert process.wait(timeout=60) == 1
        assert errors == ""

    def test_a_terminal_without_the_characters_gets_others(self, model: str) -> None:
        environment = {**os.environ, "PYTHONIOENCODING": "ascii"}
        options = ("--max-tokens", "200", "--temperature", "5", "--top-k", "0", "--seed", "1")
        with start("run", "--model", model, *options, "hi", env=environment) as process:
            text, errors = process.communicate(timeout=60)
        assert process.returncode == 0, errors
        assert "?" in text
