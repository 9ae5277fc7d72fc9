"""Byte-pair encoding of words."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

from .merging import INFINITE, merge_pairs
from .word_memory import WordMemory


def bpe_words(
    to_symbols: Callable[[str], list[str]],
    cost: Callable[[str, str], float],
    to_ids: Callable[[str], list[int]],
    whole_words: Mapping[str, int] | None = None,
) -> WordMemory:
    """An encoder of words.

    Args:
        to_symbols: a word to the characters that its merging starts from.
        cost: what merging two neighbours costs (merging.py).
        to_ids: a symbol that cannot be merged any further to token ids.
        whole_words: words that are a token as they stand and are not merged, to ids.
    """
    whole = whole_words or {}

    def encode(word: str) -> list[int]:
        if word in whole:
            return [whole[word]]
        ids: list[int] = []
        for symbol in merge_pairs(to_symbols(word), cost):
            ids += to_ids(symbol)
        return ids

    return WordMemory(encode)


def rank_cost(merges: Iterable[str], separator: str = " ") -> Callable[[str, str], float]:
    """What merging a pair costs: its place in the list of merges.

    Args:
        merges: two symbols each, with the separator between them.
    """
    rank_of = {merge: rank for rank, merge in enumerate(merges)}.get

    def cost(left: str, right: str) -> float:
        return rank_of(left + separator + right, INFINITE)

    return cost


def byte_token_ids(ids: Mapping[str, int], symbol: str) -> list[int] | None:
    """Ids of the tokens <0x00> to <0xFF> for a symbol's bytes; None if any of them is missing."""
    found = [ids.get(f"<0x{byte:02X}>") for byte in symbol.encode("utf-8", "surrogateescape")]
    known = [token for token in found if token is not None]
    return known if len(known) == len(found) else None


def byte_of_token(token: str) -> bytes | None:
    """The byte that a token such as <0x0A> stands for; None for any other token."""
    if len(token) != 6 or not token.startswith("<0x") or token[5] != ">":
        return None
    try:
        return bytes.fromhex(token[3:5])
    except ValueError:
        return None
