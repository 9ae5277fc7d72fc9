"""What a command owes its terminal and its shell, in processes of their own."""

from __future__ import annotations

import contextlib
import os
import pty
import select
import signal
import subprocess
import sys
import termios
import time
from pathlib import Path

import pytest
from gguf_files import write_tiny_llama
from paths import ROOT

from oxillama_web.terminal import escaped

ENVIRONMENT = os.environ | {"PYTHONPATH": str(ROOT)}
ENVIRONMENT.pop("PYTHONUNBUFFERED", None)
CHAT_TEMPLATE = "{{ messages[0].content }}"
# greedy and without a penalty, random weights go on to the end of the context
ENDLESS = "--max-tokens 100000 --temperature 0 --repetition-penalty 1"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """model.gguf, a FIFO "fifo", and the grammars "escapes.gbnf" and "yes.gbnf"."""
    folder = tmp_path_factory.mktemp("terminal")
    write_tiny_llama(folder / "model.gguf", context_length=4096, chat_template=CHAT_TEMPLATE)
    os.mkfifo(folder / "fifo")
    (folder / "escapes.gbnf").write_text(r'root ::= "a\x1b[2J\u009b\u202eb" "\n\té"')
    (folder / "yes.gbnf").write_text('root ::= "yes"')
    return folder


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("plain text", "plain text"),
        ("é 漢 👩‍👩‍👧 \xa0", "é 漢 👩‍👩‍👧 \xa0"),
        ("\x1b[2J\x07\x7f\r", r"\x1b[2J\x07\x7f\x0d"),
        ("\x9b31m\u202eabc\u2066\u2028", r"\x9b31m\u202eabc\u2066\u2028"),
        ("a\nb\tc", r"a\x0ab\x09c"),
    ],
)
def test_escaped(text: str, expected: str) -> None:
    assert escaped(text) == expected
    assert escaped("a\nb\tc\r", keep="\n\t") == "a\nb\tc\\x0d"


# A line of the shell, its status, and what stderr says.
SHELL = {
    "a FIFO as model": ("run --model fifo hi", 1, "fifo is a FIFO; it must be a file"),
    "a folder as model": ("run --model . hi", 1, ". is a folder"),
    "a device as model": ("run --model /dev/zero hi", 1, "/dev/zero is a device"),
    "info of a FIFO": ("info fifo", 1, "fifo is a FIFO"),
    "info of a device": ("info /dev/zero", 1, "/dev/zero is a device"),
    "a FIFO that nobody writes": (
        "run --model model.gguf --tokenizer fifo hi",
        1,
        "nobody writes into fifo",
    ),
    "a pipe as grammar": ("run --model model.gguf --grammar <(cat yes.gbnf) hi", 0, "answer: "),
    "a device as schema": ("run --model model.gguf --json-schema /dev/zero hi", 1, "is a device"),
    "stdin closed": ("run --model model.gguf - <&-", 1, "stdin is closed"),
    "stdin closed in a chat": ("chat --model model.gguf <&-", 0, "Ctrl-D ends the chat"),
    "stdout closed": ("info model.gguf >&-", 1, "stdout is closed"),
    "stderr closed": ("run --model model.gguf --max-tokens 2 hi 2>&-", 0, None),
    "all closed": ("info model.gguf <&- >&- 2>&-", 1, None),
    "a reader that has gone": ("info --metadata model.gguf | true; exit ${PIPESTATUS[0]}", 1, None),
    "help, and a reader that has gone": ("run --help | true; exit ${PIPESTATUS[0]}", 1, None),
    "a full disk": ("info model.gguf >/dev/full", 1, "No space left"),
    "a full disk in an answer": ("run --model model.gguf hi >/dev/full", 1, "No space left"),
    "help on a full disk": ("--help >/dev/full", 1, "No space left"),
    "a full disk for both": ("info model.gguf >/dev/full 2>/dev/full", 1, None),
    "a port that is none": ("serve --model model.gguf --port 99999", 2, "port is 99999"),
    "an unknown host": ("serve --model model.gguf --host a.invalid", 1, "cannot listen at"),
    "no UTF-8 on stdin": (r"run --model model.gguf - --max-tokens 2 <<<$'\377'", 0, "[prompt"),
}  # fmt: skip


@pytest.mark.parametrize(("line", "status", "message"), SHELL.values(), ids=SHELL)
def test_shell(folder: Path, line: str, status: int, message: str | None) -> None:
    script = f"{sys.executable} -m oxillama_web {line}"
    done = subprocess.run(
        ["bash", "-c", script], cwd=folder, env=ENVIRONMENT, capture_output=True, timeout=60
    )
    errors = done.stderr.decode()
    assert done.returncode == status, errors
    assert "Traceback" not in errors and "Exception ignored" not in errors
    if message is None:
        assert errors == ""
    else:
        assert message in errors
        assert len(errors.splitlines()) == 1


class Terminal:
    """A command with a terminal of its own, as one starts it by hand."""

    def __init__(self, folder: Path, line: str) -> None:
        self._master, self._slave = pty.openpty()
        self._before = termios.tcgetattr(self._slave)
        self.output = b""
        self._process = subprocess.Popen(
            [sys.executable, "-m", "oxillama_web", *line.split()],
            cwd=folder,
            env=ENVIRONMENT,
            stdin=self._slave,
            stdout=self._slave,
            stderr=self._slave,
        )

    def read_until(self, text: bytes) -> None:
        end = time.monotonic() + 60
        while text not in self.output and time.monotonic() < end:
            if select.select([self._master], [], [], 0.1)[0]:
                with contextlib.suppress(OSError):
                    self.output += os.read(self._master, 1 << 16)
        assert text in self.output

    def ends_with(self, number: int) -> tuple[int, bool]:
        """The status after a signal, and whether the terminal is as it was before."""
        self._process.send_signal(number)
        while self._process.poll() is None:
            if select.select([self._master], [], [], 0.05)[0]:
                self.output += os.read(self._master, 1 << 16)
        is_restored = termios.tcgetattr(self._slave) == self._before
        return self.close(), is_restored

    def close(self) -> int:
        status = self._process.wait(60)
        os.close(self._master)
        os.close(self._slave)
        return status


COMMANDS = {
    "chat --model model.gguf": b"> ",
    f"run --model model.gguf {ENDLESS} fox": b" ",
    "serve --model model.gguf --port 0": b"ends the server",
}


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP, signal.SIGINT])
@pytest.mark.parametrize(("line", "begun"), COMMANDS.items(), ids=["chat", "run", "serve"])
def test_a_signal_ends_a_command_and_the_terminal_is_restored(
    folder: Path, line: str, begun: bytes, number: int
) -> None:
    terminal = Terminal(folder, line)
    terminal.read_until(begun)
    assert terminal.ends_with(number) == (128 + number, True)
    assert b"Traceback" not in terminal.output


def test_a_signal_that_is_ignored_stays_ignored(folder: Path) -> None:
    line = f"run --model model.gguf {ENDLESS} fox"
    script = f"trap '' HUP; exec {sys.executable} -m oxillama_web {line}"
    with subprocess.Popen(
        ["bash", "-c", script], cwd=folder, env=ENVIRONMENT,
        stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
    ) as process:  # fmt: skip
        assert process.stdout is not None
        process.stdout.read(1)
        process.send_signal(signal.SIGHUP)
        process.stdout.read(1)
        process.send_signal(signal.SIGTERM)
        process.stdout.read()
        assert process.wait(60) == 128 + signal.SIGTERM


def test_what_a_model_says_cannot_control_a_terminal(folder: Path) -> None:
    """But a file or a pipe gets the answer as it is."""
    line = "run --model model.gguf --grammar escapes.gbnf hi"
    terminal = Terminal(folder, line)
    terminal.read_until(b"[prompt")
    assert terminal.close() == 0
    answer = terminal.output.partition(b"[prompt")[0].decode()
    assert answer.replace("\r\n", "\n") == "a\\x1b[2J\\x9b\\u202eb\n\té\n"
    done = subprocess.run(
        [sys.executable, "-m", "oxillama_web", *line.split()], cwd=folder, capture_output=True,
        env=ENVIRONMENT, check=True,
    )  # fmt: skip
    assert done.stdout.decode() == "a\x1b[2J\x9b\u202eb\n\té\n"
