"""Byte-pair encoding of pre-tokens."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

from .merging import INFINITE, merge_pairs
from .pre_token_cache import PreTokenCache


def bpe_encoder(
    to_symbols: Callable[[str], list[str]],
    cost: Callable[[str, str], float],
    to_ids: Callable[[str], list[int]],
    unmerged: Mapping[str, int] | None = None,
) -> PreTokenCache:
    """Return an encoder of pre-tokens.

    Args:
        to_symbols: splits a pre-token into the characters that its merging starts from.
        cost: what it costs to merge two neighbours (merging.py).
        to_ids: maps a symbol that cannot be merged any further to token ids.
        unmerged: pre-tokens that are a token as they are, by their ids; these are not merged.
    """
    whole = unmerged or {}

    def encode(pre_token: str) -> list[int]:
        if pre_token in whole:
            return [whole[pre_token]]
        ids: list[int] = []
        for symbol in merge_pairs(to_symbols(pre_token), cost):
            ids += to_ids(symbol)
        return ids

    return PreTokenCache(encode)


def rank_cost(merges: Iterable[str], separator: str = " ") -> Callable[[str, str], float]:
    """Return a cost function: the cost of a pair is its place in the list of merges.

    Args:
        merges: two symbols each, with the separator between them.
    """
    rank_of = {merge: rank for rank, merge in enumerate(merges)}.get

    def cost(left: str, right: str) -> float:
        return rank_of(left + separator + right, INFINITE)

    return cost


def byte_token_ids(ids: Mapping[str, int], symbol: str) -> list[int] | None:
    """Return the ids of the <0xNN> tokens for a symbol's bytes; None if one is missing."""
    found = [ids.get(f"<0x{byte:02X}>") for byte in symbol.encode("utf-8", "surrogateescape")]
    known = [token for token in found if token is not None]
    return known if len(known) == len(found) else None


def byte_of_token(token: str) -> bytes | None:
    """Return the byte that a token such as <0x0A> stands for; None for any other token."""
    if len(token) != 6 or not token.startswith("<0x") or token[5] != ">":
        return None
    try:
        return bytes.fromhex(token[3:5])
    except ValueError:
        return None
