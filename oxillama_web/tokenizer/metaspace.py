"""Splitting text whose spaces are written as U+2581 into pre-tokens that merge independently.

SentencePiece vocabularies merge over the whole text. But hardly any token has a U+2581 after
another character, and where none has, no merge crosses the start of a word. Merging word by word
then gives the same tokens, and each word needs to be merged only once.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

METASPACE = "▁"
_MAX_CROSSING_TOKENS = 100


def pre_token_splitter(tokens: Iterable[str]) -> Callable[[str], list[str]]:
    """Return a function that splits text at places that no token of the vocabulary crosses."""
    import re

    # the separator keeps one token's end from the next one's start
    crossings = re.findall(f"[^{METASPACE}\0]{METASPACE}", "\0".join(tokens))
    if not crossings:
        return re.compile(f"{METASPACE}+[^{METASPACE}]*|[^{METASPACE}]+").findall
    if len(crossings) > _MAX_CROSSING_TOKENS:
        return lambda text: [text] if text else []
    # do not split at spaces that follow a character which a crossing token has before its space
    before = "".join(sorted({re.escape(crossing[0]) for crossing in crossings}))
    inside = f"(?:[^{METASPACE}]+|(?<=[{before}]){METASPACE}+)"
    return re.compile(f"{METASPACE}+{inside}*|{inside}+").findall
