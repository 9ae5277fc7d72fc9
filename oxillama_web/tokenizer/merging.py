"""Merging neighbours, the cheapest pair first: the core of byte-pair encoding and SentencePiece.

The two differ only in what a pair costs: the rank of a merge, or the negative score of the result.
Of equally cheap pairs the leftmost is merged first.
"""

from __future__ import annotations

from collections.abc import Callable

INFINITE = float("inf")
# up to this length, searching a list for its minimum is faster than keeping a heap
_SHORT = 48


def merge_pairs(symbols: list[str], cost: Callable[[str, str], float]) -> list[str]:
    """Merge neighbours until no pair can be merged.

    Args:
        symbols: the characters of a pre-token; the list may be changed.
        cost: of merging two neighbours; INFINITE if they cannot be merged.
    """
    if len(symbols) < 2:
        return symbols
    merge = _merge_short if len(symbols) <= _SHORT else _merge_long
    return merge(symbols, cost)


def _merge_short(symbols: list[str], cost: Callable[[str, str], float]) -> list[str]:
    costs = list(map(cost, symbols, symbols[1:]))
    while costs:
        cheapest = min(costs)
        if cheapest == INFINITE:
            break
        at = costs.index(cheapest)
        symbols[at] += symbols.pop(at + 1)
        del costs[at]
        if at < len(costs):
            costs[at] = cost(symbols[at], symbols[at + 1])
        if at:
            costs[at - 1] = cost(symbols[at - 1], symbols[at])
    return symbols


def _merge_long(symbols: list[str], cost: Callable[[str, str], float]) -> list[str]:
    """Merge with a heap of pairs over a linked list: n log n steps for n symbols."""
    from heapq import heapify, heappop, heappush

    end = len(symbols)
    following = list(range(1, end + 1))
    preceding = list(range(-1, end - 1))
    # a pair: cost, index of the left symbol, index of the right symbol, length of both
    pairs = [
        (pair_cost, left, left + 1, len(symbols[left]) + len(symbols[left + 1]))
        for left, pair_cost in enumerate(map(cost, symbols, symbols[1:]))
        if pair_cost != INFINITE
    ]
    heapify(pairs)

    def push(left: int, right: int) -> None:
        pair_cost = cost(symbols[left], symbols[right])
        if pair_cost != INFINITE:
            length = len(symbols[left]) + len(symbols[right])
            heappush(pairs, (pair_cost, left, right, length))

    while pairs:
        _, left, right, length = heappop(pairs)
        # a pair is out of date once either symbol is gone or has grown
        gone = not symbols[left] or not symbols[right]
        if gone or len(symbols[left]) + len(symbols[right]) != length:
            continue
        symbols[left] += symbols[right]
        symbols[right] = ""
        after = following[left] = following[right]
        if after < end:
            preceding[after] = left
            push(left, after)
        if preceding[left] >= 0:
            push(preceding[left], left)
    return [symbol for symbol in symbols if symbol]
