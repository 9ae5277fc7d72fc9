"""What must be new in a child process after `os.fork`: locks, and threads that it does not have."""

from __future__ import annotations

import os
from typing import Protocol
from weakref import WeakSet


class Renewable(Protocol):
    """An object with locks or threads."""

    def renew_after_fork(self) -> None:
        """Take new locks, and forget threads of the parent. No other thread runs."""


_renewables: WeakSet[Renewable] = WeakSet()


def renew_after_fork(owner: Renewable) -> None:
    """Call `owner.renew_after_fork()` in each child process, as long as the object lives."""
    _renewables.add(owner)


def _renew() -> None:
    for owner in list(_renewables):
        owner.renew_after_fork()


if hasattr(os, "register_at_fork"):  # not on Windows, and not in a browser
    os.register_at_fork(after_in_child=_renew)
