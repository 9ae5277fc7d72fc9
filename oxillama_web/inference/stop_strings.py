"""Stop strings: an answer ends where one of them begins."""

from __future__ import annotations

from collections.abc import Sequence


class StopStrings:
    """Finds the first stop string in a text that comes in pieces.

    Text that could be the beginning of a stop string is held back until more text decides. Pieces
    are whole characters, so a stop string may begin and end inside a token.

    Attributes:
        found: whether a stop string came; nothing follows it.
    """

    def __init__(self, strings: Sequence[str]) -> None:
        self.found = False
        self._strings = tuple(strings)
        self._held = ""

    def push(self, text: str) -> str:
        """Take a piece; return the text that is certain to come before any stop string."""
        if not self._strings or self.found:
            return "" if self.found else text
        text = self._held + text
        starts = [start for string in self._strings if (start := text.find(string)) >= 0]
        if starts:
            self.found, self._held = True, ""
            return text[: min(starts)]
        n_certain = len(text) - self._undecided(text)
        self._held = text[n_certain:]
        return text[:n_certain]

    def finish(self) -> str:
        """Return the text that was held back: it is no stop string after all."""
        held, self._held = self._held, ""
        return held

    def _undecided(self, text: str) -> int:
        """Return the length of the longest end of `text` that begins a stop string."""
        longest = min(len(text), max(map(len, self._strings)) - 1)
        return next(
            n
            for n in range(longest, -1, -1)
            if any(string.startswith(text[len(text) - n :]) for string in self._strings)
        )
