"""Patterns as tokenizers use them: to split texts and to replace parts of them."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator

from ...errors import TokenizerError
from .code_points import ASCII_LIMIT, BMP_LIMIT, LIMIT
from .cost import is_quick
from .nodes import Node, lengths
from .parser import parse
from .translation import translate

_Splitter = Callable[[str], list[str]]
# from a place in a text, the start and end of the next match
_Search = Callable[[int], tuple[int, int] | None]


class UnicodeRegex:
    r"""A pattern in Oniguruma's syntax.

    Matches are found as the `tokenizers` library finds them: an empty one is none where the match
    before it ended.

    Raises:
        TokenizerError: the pattern is broken, or uses something that is not supported.
    """

    def __init__(self, pattern: str) -> None:
        self._pattern = pattern
        # a broken pattern is an error now, not at the first text
        self._splitters = {ASCII_LIMIT: self._compile(ASCII_LIMIT)}

    def is_quick(self) -> bool:
        """Return whether a backtracking engine matches it in a reasonable time, in any text."""
        return is_quick(parse(self._pattern, LIMIT))

    def split(self, text: str) -> list[str]:
        """Return what lies between matches (even indices) and the matches (odd indices).

        Raises:
            TokenizerError: it takes too long.
        """
        if not text:
            return [text]
        if text.isascii():
            return self._splitter(ASCII_LIMIT)(text)
        return self._splitter(BMP_LIMIT if max(text) <= "\uffff" else LIMIT)(text)

    def replace(self, text: str, content: str) -> str:
        """Return the text with each match replaced.

        Raises:
            TokenizerError: it takes too long.
        """
        parts = self.split(text)
        parts[1::2] = [content] * (len(parts) // 2)
        return "".join(parts)

    def _splitter(self, limit: int) -> _Splitter:
        splitter = self._splitters.get(limit)
        if splitter is None:
            splitter = self._splitters[limit] = self._compile(limit)
        return splitter

    def _compile(self, limit: int) -> _Splitter:
        """Return the function of `split` for code points up to a limit."""
        try:
            return _compiled(parse(self._pattern, limit), self._pattern[:500], limit)
        except (re.error, RecursionError, OverflowError, MemoryError) as error:
            raise TokenizerError(
                f"the vocabulary's pattern {self._pattern[:500]!r} cannot be used: "
                f"{type(error).__name__}"
            ) from error


def isolating_splitter(patterns: tuple[str, ...]) -> _Splitter:
    """Return a function that splits by each pattern in turn.

    Matches and what lies between them are pieces.
    """
    regexes = [UnicodeRegex(pattern) for pattern in patterns]

    def split(text: str) -> list[str]:
        pieces = [text]
        for regex in regexes:
            pieces = [part for piece in pieces for part in regex.split(piece) if part]
        return pieces

    return split


def _compiled(node: Node, pattern: str, limit: int) -> _Splitter:
    source = translate(node, limit) if is_quick(node) else None
    if source is None:
        from .matching import Matcher, TextMatcher

        matcher = Matcher(node, pattern)
        return lambda text: _parts(text, TextMatcher(matcher, text).search)
    if lengths(node)[0] > 0:
        return re.compile(f"({source})", re.MULTILINE).split
    regex = re.compile(source, re.MULTILINE)

    def split(text: str) -> list[str]:
        def search(start: int) -> tuple[int, int] | None:
            found = regex.search(text, start)
            return found.span() if found else None

        return _parts(text, search)

    return split


def _parts(text: str, search: _Search) -> list[str]:
    parts = []
    end = 0
    for match_start, match_end in _matches(text, search):
        parts += [text[end:match_start], text[match_start:match_end]]
        end = match_end
    return [*parts, text[end:]]


def _matches(text: str, search: _Search) -> Iterator[tuple[int, int]]:
    """Yield all matches, as the iterator of the `onig` crate does."""
    start = 0
    last_end = -1
    while start <= len(text) and (found := search(start)) is not None:
        match_start, match_end = found
        if match_start == match_end == last_end:
            start += 1
            continue
        start = last_end = match_end
        yield found
