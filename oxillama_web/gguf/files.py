"""Files that a caller names: what is no file is refused, where reading it could wait for ever."""

from __future__ import annotations

import os
import stat
from pathlib import Path

# No text that is read whole is nearly as long.
MAX_TEXT_BYTES = 1 << 28

_KINDS = {
    stat.S_IFDIR: "a folder",
    stat.S_IFIFO: "a FIFO",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
    stat.S_IFSOCK: "a socket",
}


def require_file(path: Path) -> Path:
    """Return the path; raise OSError if there is no regular file."""
    mode = path.stat().st_mode
    if not stat.S_ISREG(mode):
        kind = _KINDS.get(stat.S_IFMT(mode), "something else")
        raise OSError(f"{path} is {kind}; it must be a file")
    return path


def read_text_file(path: Path) -> bytes:
    """Read a file, or what a process writes into a pipe, as the shell's `<(command)` is.

    Raises:
        OSError: it is neither, nobody writes into the pipe, or it is too large for a text.
    """
    if stat.S_ISFIFO(path.stat().st_mode):
        # to open it otherwise would wait for one that writes
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
        os.set_blocking(descriptor, True)
        file = open(descriptor, "rb")  # noqa: SIM115 - below
    else:
        file = require_file(path).open("rb")
    with file:
        data = file.read(MAX_TEXT_BYTES + 1)
    if len(data) > MAX_TEXT_BYTES:
        raise OSError(f"{path} is larger than {MAX_TEXT_BYTES >> 20} MB")
    if not data and stat.S_ISFIFO(path.stat().st_mode):
        raise OSError(f"nobody writes into {path}")
    return data
