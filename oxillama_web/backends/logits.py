"""What works on logits: searches, sums and masks over the whole vocabulary.

It knows no plan, no sampler and no grammar: it takes plain arrays in Python's memory. In a page,
logits are copied there once a token. The model's kernels run on threads over a memory of their own
(web/kernels/pool.js), which Python cannot address, and biases and penalties are Python. So a page
has the kernels twice: over the pool's memory for the plan, and opened by ctypes over Python's for
the logits. Natively, one library serves both.
"""

from __future__ import annotations

from array import array
from typing import NamedTuple, Protocol


class TokenBytes(NamedTuple):
    """The bytes of all tokens of a vocabulary.

    Attributes:
        data: uint8, one token after the other.
        offsets: token t is data[offsets[t]:offsets[t + 1]]; uint32 [tokens + 1].
    """

    data: array[int]
    offsets: array[int]


class StateTable(NamedTuple):
    """A deterministic automaton over bytes. State 0 is dead: nothing can follow.

    Attributes:
        classes: the class of each byte, uint8 [256].
        table: the next state for each state and class, uint16 [n_states * n_classes]; entries of
            n_states or more are unknown.
        n_classes: bytes of one class are never told apart.
        n_states: the states so far.
    """

    classes: array[int]
    table: array[int]
    n_classes: int
    n_states: int


class LogitsOps(Protocol):
    """Operations on one row of logits, float32 [vocabulary]."""

    def top_k(self, logits: memoryview[float], k: int) -> tuple[list[int], list[float]]:
        """Return the k largest logits, descending: token ids and values.

        Of equal logits the one with the smaller id comes first.
        """

    def top_p(
        self, logits: memoryview[float], temperature: float, p: float
    ) -> tuple[list[int], list[float]]:
        """Return the fewest of the largest logits whose probabilities reach p in (0, 1).

        Probabilities are those of softmax(logits / temperature).

        Returns:
            Token ids and logits, descending; none if no logit is above -infinity.
        """

    def log_sum_exp(self, logits: memoryview[float], temperature: float) -> float:
        """Return log(sum(exp(logits / temperature)))."""

    def entropy(self, logits: memoryview[float], temperature: float) -> float:
        """Return the entropy of softmax(logits / temperature), in nats."""

    def sample(self, logits: memoryview[float], temperature: float, uniform: float) -> int:
        """Return the first token whose cumulative probability exceeds `uniform`, in [0, 1)."""

    def match_tokens(
        self,
        vocabulary: TokenBytes,
        automaton: StateTable,
        state: int,
        ids: array[int],
        mask: array[int],
    ) -> tuple[array[int], list[int]]:
        """Set a bit for each token whose bytes lead from a state to a state that is not dead.

        Args:
            ids: the tokens to look at, uint32.
            mask: uint32 [ceil(tokens / 32)], changed in place.

        Returns:
            The tokens that met unknown entries of the table, and some of those entries: compute
            them before the tokens are looked at again. The kernels mark them in the table.
        """

    def mask_logits(self, logits: memoryview[float], mask: array[int]) -> None:
        """Make each logit -infinity whose bit is not set in the mask, or that is beyond it."""
