"""What the engine asks of an executor."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal, Protocol

from ..errors import InvalidRequestError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ..plan.lora import LoraAdapter
    from ..plan.operations import Plan
    from .offload import LayerPager

Outputs = Literal["last", "all"]


class KVCache(Protocol):
    """Keys and values of one sequence, growing as tokens come."""

    @property
    def length(self) -> int:
        """Tokens in the cache."""

    def truncate(self, length: int) -> None:
        """Forgets all tokens from position `length` on and frees what they held."""

    def fork(self, length: int) -> KVCache:
        """Another cache that holds the first `length` tokens; neither changes the other."""

    @property
    def can_shift(self) -> bool:
        """Whether positions can move. They cannot if the model learned a vector for each."""

    def shift(self, start: int, count: int) -> None:
        """Discard `count` positions from `start` on, and move those after them down.

        Keys are rotated to their new positions (a K-shift); values stay as they are. They were
        computed while the discarded tokens were visible, so a prefill of the tokens that are left
        would give other values.

        Raises:
            InvalidRequestError: there are not so many, or they cannot move.
            OutOfMemoryError: pages that are shared with a fork cannot be copied.
        """

    @property
    def layout(self) -> str:
        """Names how `export` lays out keys and values; caches of one layout read each other's."""

    def export(self) -> bytes:
        """Keys and values of all tokens, for a cache of the same layout."""

    def restore(self, data: bytes, length: int) -> None:
        """Holds what a cache of `length` tokens has exported, instead of what it held.

        Raises:
            InvalidRequestError: the size is wrong. The cache is as it was.
        """


Batch = Sequence[tuple[KVCache, Sequence[int]]]


def check_batch(batch: Batch) -> None:
    """Raises InvalidRequestError if a sequence has no tokens, or a cache comes twice."""
    if not batch or not all(tokens for _, tokens in batch):
        raise InvalidRequestError("a forward pass needs at least one token of each sequence")
    if len({id(cache) for cache, _ in batch}) < len(batch):
        raise InvalidRequestError("a batch has one cache twice; give its tokens together")


def check_shift(cache: KVCache, start: int, count: int) -> None:
    """Raise InvalidRequestError if the cache cannot shift so."""
    if start < 0 or count < 1 or start + count > cache.length or not cache.can_shift:
        raise InvalidRequestError(
            f"cannot take {count} positions from {start} on out of a cache of {cache.length} tokens"
        )


class Executor(Protocol):
    """Runs a plan over batches of tokens."""

    @property
    def name(self) -> str:
        """Which executor this is, as "numpy" or "kernels-avx512"."""

    @property
    def memory_bytes(self) -> int:
        """Bytes held for weights, buffers and caches."""

    def new_cache(self) -> KVCache:
        """An empty cache."""

    def cache_bytes(self, n_tokens: int) -> int:
        """Bytes that a cache of so many tokens takes."""

    def forward(self, cache: KVCache, tokens: Sequence[int], outputs: Outputs) -> memoryview[float]:
        """Appends tokens to the cache and computes logits.

        Returns:
            A writable memoryview of float32 [rows * vocabulary], one row ("last") or one a token
            ("all"), valid until the next call.

        Raises:
            InvalidRequestError: no tokens, or a token outside of the vocabulary.
            OutOfMemoryError: the cache cannot grow.
        """

    def forward_batch(self, batch: Batch, outputs: Outputs) -> memoryview[float]:
        """As `forward`, for several sequences in one pass.

        Args:
            batch: caches, each at most once, and the tokens to append to each.
            outputs: logits of each sequence's last token, or of every token.

        Returns:
            As `forward`, in the order of the batch. A sequence's logits do not depend on the
            others: kernels compute the same bits as in a pass of its own.
        """

    def hidden_states(self, batch: Batch, outputs: Outputs) -> memoryview[float]:
        """As `forward_batch`, but stops before the output head: the hidden states that it takes.

        Returns:
            Float32 [rows * hidden size], valid until the next call.
        """

    def use_plan(self, plan: Plan, adapters: Mapping[str, LoraAdapter]) -> None:
        """Runs another plan over the model's weights from now on: one with adapters, or without.

        Caches keep their layout, but what they hold was computed with the plan before.

        Args:
            adapters: whose the plan's weights are that are not the model's (lora.apply_loras).

        Raises:
            UnsupportedModelError: an adapter's format has no kernel. The plan before stays.
            OutOfMemoryError: the adapters do not fit. The plan before stays.
        """

    def use_pager(self, plan: Plan, pager: LayerPager) -> None:
        """Hold the model's weights by another policy from now on.

        Args:
            plan: the model's, split by `backend.split_for`.

        Raises:
            InvalidRequestError: the model is in memory as a whole.
            OutOfMemoryError: the budget is too small; nothing has changed.
        """

    def receive(self, n_received: int) -> int | None:
        """Take the weights that are complete now that the model's first bytes have arrived.

        Returns:
            How many bytes the next weight needs; None when all of them are taken.
        """

    def close(self) -> None:
        """Frees all memory; the executor cannot be used any more."""
