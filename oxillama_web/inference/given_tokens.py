"""Which tokens of an answer have reached the caller, as text."""

from __future__ import annotations


class GivenTokens:
    """Compares the texts of an answer's tokens with the text that the caller was given.

    Text may be held back, because a stop string may begin there, and an answer ends before one. A
    stop string may also begin inside a token; then the caller was given a part of the token's text.

    Attributes:
        n_tokens: how many of the tokens were given as a whole.
        rest: text that was given after them: the beginning of the next token.
    """

    def __init__(self) -> None:
        self.n_tokens = 0
        self.rest = ""
        self._ahead: list[tuple[str, bool]] = []

    def push(self, text: str, is_whole: bool) -> None:
        """Take the next token's text, and whether no character is unfinished after it."""
        self._ahead.append((text, is_whole))

    def give(self, text: str) -> None:
        """Take the text that the caller is given next."""
        rest = self.rest + text
        n_tokens = n_chars = end = 0
        for number, (piece, is_whole) in enumerate(self._ahead, 1):
            end += len(piece)
            if end > len(rest):
                break
            if is_whole:
                n_tokens, n_chars = number, end
        # in one statement: an exception may come between two
        self.n_tokens, self.rest, self._ahead = (
            self.n_tokens + n_tokens, rest[n_chars:], self._ahead[n_tokens:],
        )  # fmt: skip
