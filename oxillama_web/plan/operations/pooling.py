"""Pooling: one row for all tokens of a text."""

from dataclasses import dataclass

from ..builder import PlanBuilder
from ..plan import Operation, Read, Write


@dataclass(frozen=True, slots=True)
class MeanRows(Operation):
    """dst = for each row that is asked for, the mean of its sequence's rows of src in the batch."""

    kind = 50

    dst: Write
    src: Read

    @classmethod
    def append(cls, plan: PlanBuilder, dst: str, src: str) -> None:
        """Average over the tokens of each text, which must come in one batch."""
        plan.declare(dst, plan.width(src), rows="output")
        plan.append(cls(dst, src))
