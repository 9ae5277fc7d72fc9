"""Bounds for texts that become longer: a file may ask for so much that no memory could hold it."""

from __future__ import annotations

from ..errors import TokenizerError

# A few characters become as many as 18 (NFKD of U+FDFA); a file's own replacements add few.
_MAX_GROWTH = 20
_MAX_EXTRA = 10_000
# characters that one step puts in somewhere
MAX_INSERTED = 1_000
# steps of a sequence; the longest of published files have some hundred
MAX_STEPS = 1_000


def length_limit(length: int) -> int:
    """Return how many characters may be made of some."""
    return _MAX_GROWTH * length + _MAX_EXTRA


def check_length(length: int, limit: int, what: str) -> None:
    """Raise an error if a text is longer than its limit.

    Raises:
        TokenizerError: it is; the error names `what` makes it.
    """
    if length > limit:
        raise TokenizerError(
            f"the {what} of the tokenizer.json makes a text of {length} characters, and {limit} "
            "are the most for what it was made of"
        )
