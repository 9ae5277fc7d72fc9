"""What a command owes its terminal and its shell: clean text, and the usual exit status."""

from __future__ import annotations

import contextlib
import io
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, NoReturn

if TYPE_CHECKING:
    from types import FrameType

FAILED = 1
# What a shell returns for a command that signal n ended is this and n.
SIGNALLED = 128

_LOOK_SECONDS = 0.2

# Ctrl-C is Python's own KeyboardInterrupt.
_ENDING = [getattr(signal, name) for name in ("SIGTERM", "SIGHUP") if hasattr(signal, name)]
# They show a text in another order than it has: https://trojansource.codes
_REORDERING = frozenset("\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")


class Terminated(SystemExit):
    """A signal asks the command to end."""

    def __init__(self, number: int) -> None:
        super().__init__(SIGNALLED + number)
        self.number = number


def run_command(name: str, command: Callable[[], int]) -> int:
    """Run a command, and return its exit status: of a shell's kind, whatever happens.

    A signal gives 128 and its number. An error of the system is one line on stderr and the status
    1; so is a stdout that is closed or full. If the reader of stdout has gone, there is no line.
    """
    _occupy_descriptors()
    try:
        with _ending_signals():
            if sys.stdout is None:
                raise OSError("stdout is closed")
            try:
                status = command()
            except SystemExit as end:
                if not isinstance(end, Terminated):  # but after the help
                    sys.stdout.flush()
                raise
            sys.stdout.flush()
            return status
    except BrokenPipeError:
        return FAILED
    except KeyboardInterrupt:
        tell("")
        return SIGNALLED + signal.SIGINT
    except Terminated as ending:
        tell("")
        return SIGNALLED + ending.number
    except OSError as error:
        tell(f"{name}: {error}")
        return FAILED
    except MemoryError:
        tell(f"{name}: out of memory")
        return FAILED
    finally:
        _flush()


@contextlib.contextmanager
def waiting_for_input() -> Iterator[None]:
    """Notice signals while stdin is read.

    Python looks for them when one interrupts the wait. One that came just before the wait began
    would not be noticed until there is input, so a timer interrupts the wait again and again.
    """
    if not hasattr(signal, "setitimer") or not _is_main_thread():
        yield
        return
    handler = signal.signal(signal.SIGALRM, lambda number, frame: None)
    timer = signal.setitimer(signal.ITIMER_REAL, _LOOK_SECONDS, _LOOK_SECONDS)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, *timer)
        signal.signal(signal.SIGALRM, handler)


def tell(line: str) -> None:
    """Print a line on stderr, if there is one."""
    if sys.stderr is not None:
        with contextlib.suppress(OSError):
            print(escaped(line), file=sys.stderr, flush=True)


def escaped(text: str, keep: str = "") -> str:
    r"""Return a text that cannot control a terminal: U+001B becomes \x1b.

    Args:
        text: from a file or a model.
        keep: control characters that stay, such as line feeds.
    """
    if text.isascii() and text.isprintable():
        return text
    return "".join(c if c in keep or not _controls(c) else _escape(c) for c in text)


def for_stdout(text: str) -> str:
    """Return what a model said as stdout takes it: escaped, if that is a terminal."""
    return escaped(text, keep="\n\t") if sys.stdout.isatty() else text


def _controls(char: str) -> bool:
    return char < " " or "\x7f" <= char <= "\x9f" or char in _REORDERING or char in "\u2028\u2029"


def _escape(char: str) -> str:
    return f"\\x{ord(char):02x}" if char <= "\xff" else f"\\u{ord(char):04x}"


def _occupy_descriptors() -> None:
    """Keep the places of closed standard streams, which files that are opened would else take."""
    for descriptor in (0, 1, 2):
        try:
            os.fstat(descriptor)
        except OSError:
            os.open(os.devnull, os.O_RDWR)


@contextlib.contextmanager
def _ending_signals() -> Iterator[None]:
    """Raise Terminated for signals that end a command, so that the terminal is restored first."""
    before = {}
    if _is_main_thread():
        for number in _ENDING:
            if signal.getsignal(number) == signal.SIG_DFL:  # nohup has them ignored
                before[number] = signal.signal(number, _end)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _is_main_thread() -> bool:
    return threading.current_thread() is threading.main_thread()


def _end(number: int, _frame: FrameType | None) -> NoReturn:
    signal.signal(number, signal.SIG_DFL)  # a second one is not waited for
    raise Terminated(number)


def _flush() -> None:
    """Drop what cannot be written: Python's own flush at exit must not complain."""
    for stream in (sys.stdout, sys.stderr):
        try:
            if stream is not None:
                stream.flush()
        except OSError:
            with contextlib.suppress(OSError, io.UnsupportedOperation):
                os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
