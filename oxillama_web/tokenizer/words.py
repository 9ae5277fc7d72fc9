"""Cutting text whose spaces are written as U+2581 into words that can be merged one by one.

SentencePiece vocabularies merge over a whole text. Yet hardly a token has U+2581 behind another
character, and where none has, no merge can cross the start of a word: merging word by word gives
the same tokens, and each word only once.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

SPACE_MARK = "▁"
_MOST_CROSSING_TOKENS = 100


def word_splitter(tokens: Iterable[str]) -> Callable[[str], list[str]]:
    """A function that cuts text where no token of the vocabulary can cross."""
    import re

    # the separator keeps one token's end from the next one's start
    crossings = re.findall(f"[^{SPACE_MARK}\0]{SPACE_MARK}", "\0".join(tokens))
    if not crossings:
        return re.compile(f"{SPACE_MARK}+[^{SPACE_MARK}]*|[^{SPACE_MARK}]+").findall
    if len(crossings) > _MOST_CROSSING_TOKENS:
        return lambda text: [text] if text else []
    # spaces stay inside of a word behind each character that a crossing token has there
    before = "".join(sorted({re.escape(crossing[0]) for crossing in crossings}))
    inside = f"(?:[^{SPACE_MARK}]+|(?<=[{before}]){SPACE_MARK}+)"
    return re.compile(f"{SPACE_MARK}+{inside}*|{inside}+").findall
