"""Which Chromium to drive, and with what flags."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)


def find_chromium() -> str:
    """The path in $CHROMIUM, else the system's Chromium.

    Raises:
        SystemExit: there is none.
    """
    for candidate in (os.environ.get("CHROMIUM"), "/usr/bin/chromium", shutil.which("chromium")):
        if candidate and Path(candidate).is_file():
            return candidate
    raise SystemExit("no Chromium found; install it, or name its program in $CHROMIUM")
