"""What the engine needs from an executor, which runs plans."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal, Protocol

from ..errors import InvalidRequestError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ..plan.lora import LoraAdapter
    from ..plan.plan import Plan
    from .cache import SequenceCache
    from .offload import LayerPager

# The tokens of each sequence whose outputs are asked for.
Outputs = Literal["first", "last", "all"]

Batch = Sequence[tuple["SequenceCache", Sequence[int]]]


def check_batch(batch: Batch) -> None:
    """Raise InvalidRequestError if a sequence has no tokens, or a cache appears twice."""
    if not batch or not all(tokens for _, tokens in batch):
        raise InvalidRequestError("a forward pass needs at least one token of each sequence")
    if len({id(cache) for cache, _ in batch}) < len(batch):
        raise InvalidRequestError("a batch has one cache twice; give its tokens together")


class Executor(Protocol):
    """Runs a plan over batches of tokens."""

    @property
    def name(self) -> str:
        """The kind of executor, such as "numpy" or "kernels-avx512"."""

    @property
    def memory_bytes(self) -> int:
        """The bytes in use for weights, buffers and caches."""

    def new_cache(self) -> SequenceCache:
        """Return an empty cache."""

    def cache_bytes(self, n_tokens: int) -> int:
        """Return the bytes that a cache of this many tokens takes."""

    def forward(
        self, cache: SequenceCache, tokens: Sequence[int], outputs: Outputs
    ) -> memoryview[float]:
        """Append tokens to the cache and compute logits.

        Returns:
            A writable memoryview of float32 [rows * vocabulary], with one row ("first", "last") or
            one for each token ("all"), valid until the next call. Rerankers give scores instead.

        Raises:
            InvalidRequestError: there are no tokens, or one is outside of the vocabulary.
            OutOfMemoryError: the cache cannot grow.
        """

    def forward_batch(self, batch: Batch, outputs: Outputs) -> memoryview[float]:
        """Do the same as `forward` for several sequences in one pass.

        Args:
            batch: caches, each at most once, and the tokens to append to each.
            outputs: whether to return logits of each sequence's last token, of the first one of
                this pass, or of every token.

        Returns:
            The same as `forward`, in the order of the batch. A sequence's logits do not depend on
            the others: the kernels compute the same bits as in a pass of its own.
        """

    def hidden_states(self, batch: Batch, outputs: Outputs) -> memoryview[float]:
        """Do the same as `forward_batch`, but stop before the output head.

        Returns:
            The hidden states that the head takes, float32 [rows * hidden size], valid until the
            next call.
        """

    def use_plan(self, plan: Plan, adapters: Mapping[str, LoraAdapter]) -> None:
        """Run another plan over the model's weights from now on, with adapters or without.

        Caches keep their layout, but their contents were computed with the previous plan.

        Args:
            adapters: those that hold the plan's other weights, by name (lora.apply_loras).

        Raises:
            UnsupportedModelError: an adapter's format has no kernel. The previous plan stays.
            OutOfMemoryError: the adapters do not fit. The previous plan stays.
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
        """Free all memory. The executor cannot be used any more."""
