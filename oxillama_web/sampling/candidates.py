"""The tokens that may still be chosen, the most probable first."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ..backends.logits import LogitsOps

# First guess of how many candidates a cut keeps.
_FIRST_COUNT = 256


class Candidates:
    """A prefix of the tokens in descending order of their logits; it grows when asked to.

    Python never walks a whole vocabulary: as long as nothing was cut off, the list is a beginning
    of it, and the kernels know the rest.

    Attributes:
        ids: tokens, the most probable first; of equals the one with the smaller id.
        values: their logits.
        complete: no token beyond the list may be chosen.
    """

    def __init__(self, logits: memoryview[float], logits_ops: LogitsOps) -> None:
        self.ids: list[int] = []
        self.values: list[float] = []
        self.complete = False
        self._logits = logits
        self._logits_ops = logits_ops
        self._log_total: float | None = None
        # what the logits were divided by
        self.temperature = 1.0

    @property
    def log_total(self) -> float:
        """log(sum(exp(logit))) over all tokens that may be chosen."""
        if self._log_total is None:
            if self.complete:
                largest = self.values[0]
                total = sum(math.exp(value - largest) for value in self.values)
                self._log_total = largest + math.log(total)
            else:
                self._log_total = self._logits_ops.log_sum_exp(self._logits, self.temperature)
        return self._log_total

    @property
    def entropy(self) -> float:
        """-sum(p * log(p)), in nats."""
        if not self.complete:
            return self._logits_ops.entropy(self._logits, self.temperature)
        log_total = self.log_total
        return sum(math.exp(v - log_total) * (log_total - v) for v in self.values)

    def __len__(self) -> int:
        return len(self.ids) if self.complete else len(self._logits)

    def take(self, count: int) -> None:
        """Makes the list at least so long, if there are so many."""
        if self.complete or count <= len(self.ids):
            return
        self.ids, self.values = self._logits_ops.top_k(self._logits, count)
        # what is -infinity is banned, or not in the grammar
        if self.values[-1] == -math.inf and self.values[0] > -math.inf:
            count = self.values.index(-math.inf)
            self.replace(self.ids[:count], self.values[:count])
        if self.temperature != 1.0:
            self.values = [value / self.temperature for value in self.values]

    def grow(self) -> bool:
        """Makes the list longer; False when it holds all that may be chosen."""
        if self.complete or len(self.ids) == len(self._logits):
            return False
        self.take(4 * len(self.ids) or min(_FIRST_COUNT, len(self._logits)))
        return True

    def keep(self, count: int) -> None:
        """Cuts off what is behind the first `count` tokens."""
        self.take(count)
        if not self.complete or count < len(self.ids):
            self.replace(self.ids[:count], self.values[:count])

    def keep_until(self, p: float) -> None:
        """Cuts off what is behind the first tokens whose probabilities reach p, in (0, 1)."""
        if not self.complete:
            ids, values = self._logits_ops.top_p(self._logits, self.temperature, p)
            if ids:
                self.replace(ids, [value / self.temperature for value in values])
            return
        largest = self.values[0]
        target = p * math.exp(self.log_total - largest)
        cumulative = 0.0
        for index, value in enumerate(self.values, 1):
            cumulative += math.exp(value - largest)
            if cumulative >= target:
                self.keep(index)
                return

    def keep_while_above(self, bound: float) -> None:
        """Cuts off tokens less probable than `bound`; the most probable one stays."""
        if bound <= 0.0:
            return
        self.take(1)
        # a little slack: equal numbers that were computed in two ways
        lowest = self.log_total + math.log(bound) - 1e-9
        while self.values[-1] >= lowest and self.grow():
            pass
        count = next((i for i, value in enumerate(self.values) if value < lowest), len(self.ids))
        if count < len(self.ids):
            self.keep(max(count, 1))

    def replace(self, ids: list[int], values: list[float]) -> None:
        """Keeps exactly these tokens, which are in descending order."""
        self.ids, self.values, self.complete = ids, values, True
        self._log_total = None

    def drop_first(self, count: int) -> None:
        """Takes the most probable tokens away."""
        if self.complete:
            self.replace(self.ids[count:], self.values[count:])
            return
        for token in self.ids[:count]:
            self._logits[token] = -math.inf
        del self.ids[:count], self.values[:count]
        self._log_total = None

    def divide(self, temperature: float) -> None:
        """Divides the logits by a temperature above 0."""
        self.values = [value / temperature for value in self.values]
        self.temperature *= temperature
        self._log_total = None

    def draw(self, uniform: float) -> int:
        """The first token whose cumulative probability exceeds `uniform`, in [0, 1)."""
        if not self.complete:
            return self._logits_ops.sample(self._logits, self.temperature, uniform)
        weights = [math.exp(value - self.values[0]) for value in self.values]
        target = uniform * sum(weights)
        cumulative = 0.0
        for token, weight in zip(self.ids, weights, strict=True):
            cumulative += weight
            if cumulative > target:
                return token
        return self.ids[-1]
