"""The tokens that may still be chosen, the most probable first."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ..backends.logits import LogitsOps

# The first guess of how many candidates a filter keeps.
_FIRST_COUNT = 256
# Two computations of one logarithm may differ by this much.
_TOLERANCE = 1e-9


class Candidates:
    """A list of the most probable tokens, which grows on demand.

    Python never loops over a whole vocabulary. Until something is cut off, the list is only the
    beginning of the sorted vocabulary, and `LogitsOps` answers for the rest.

    Attributes:
        ids: tokens, the most probable first; of equal ones the smaller id comes first.
        values: their logits, divided by `temperature`.
        complete: no token beyond the list may be chosen.
        temperature: the product of the temperatures applied so far.
    """

    def __init__(self, logits: memoryview[float], logits_ops: LogitsOps) -> None:
        self.ids: list[int] = []
        self.values: list[float] = []
        self.complete = False
        self.temperature = 1.0
        self._logits = logits
        self._logits_ops = logits_ops
        self._log_total: float | None = None

    @property
    def log_total(self) -> float:
        """log(sum(exp(value))) over all tokens that may be chosen."""
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
        """-sum(p * log(p)) over all tokens that may be chosen, in nats."""
        if not self.complete:
            return self._logits_ops.entropy(self._logits, self.temperature)
        log_total = self.log_total
        return sum(math.exp(v - log_total) * (log_total - v) for v in self.values)

    def __len__(self) -> int:
        return len(self.ids) if self.complete else len(self._logits)

    def expand(self, count: int) -> None:
        """Make the list at least `count` long, if there are that many tokens."""
        if self.complete or count <= len(self.ids):
            return
        self.ids, self.values = self._logits_ops.top_k(self._logits, count)
        # -infinity means banned, or not in the grammar
        if self.values[-1] == -math.inf and self.values[0] > -math.inf:
            count = self.values.index(-math.inf)
            self.replace(self.ids[:count], self.values[:count])
        if self.temperature != 1.0:
            self.values = [value / self.temperature for value in self.values]

    def grow(self) -> bool:
        """Make the list longer; return False if it holds all tokens that may be chosen."""
        if self.complete or len(self.ids) == len(self._logits):
            return False
        self.expand(4 * len(self.ids) or min(_FIRST_COUNT, len(self._logits)))
        return True

    def expand_below(self, bound: float) -> int:
        """Expand until the list has a token less probable than `bound`, above 0, if there is one.

        Returns:
            How many tokens of the list are at least that probable.
        """
        self.expand(1)
        lowest = self.log_total + math.log(bound) - _TOLERANCE
        while self.values[-1] >= lowest and self.grow():
            pass
        return next((i for i, value in enumerate(self.values) if value < lowest), len(self.ids))

    def top_k(self, k: int) -> None:
        """Keep the k most probable tokens."""
        self.expand(k)
        if not self.complete or k < len(self.ids):
            self.replace(self.ids[:k], self.values[:k])

    def top_p(self, p: float) -> None:
        """Keep the fewest most probable tokens whose probabilities reach p, in (0, 1)."""
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
                self.top_k(index)
                return

    def threshold(self, bound: float) -> None:
        """Drop tokens less probable than `bound`; the most probable one stays."""
        if bound <= 0.0:
            return
        count = self.expand_below(bound)
        if count < len(self.ids):
            self.top_k(max(count, 1))

    def replace(self, ids: list[int], values: list[float]) -> None:
        """Keep exactly these tokens, which are in descending order."""
        self.ids, self.values, self.complete = ids, values, True
        self._log_total = None

    def drop_first(self, count: int) -> None:
        """Drop the `count` most probable tokens, which are in the list."""
        if self.complete:
            self.replace(self.ids[count:], self.values[count:])
            return
        for token in self.ids[:count]:
            self._logits[token] = -math.inf
        del self.ids[:count], self.values[:count]
        self._log_total = None

    def apply_temperature(self, temperature: float) -> None:
        """Divide the logits by a temperature above 0."""
        self.values = [value / temperature for value in self.values]
        self.temperature *= temperature
        self._log_total = None

    def draw(self, uniform: float) -> int:
        """Return the first token whose cumulative probability exceeds `uniform`, in [0, 1)."""
        if not self.complete:
            return self._logits_ops.sample(self._logits, self.temperature, uniform)
        exponentials = [math.exp(value - self.values[0]) for value in self.values]
        target = uniform * sum(exponentials)
        cumulative = 0.0
        for token, exponential in zip(self.ids, exponentials, strict=True):
            cumulative += exponential
            if cumulative > target:
                return token
        return self.ids[-1]
