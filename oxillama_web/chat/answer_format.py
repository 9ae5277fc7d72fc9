"""How a model's answers are written: its thoughts and its tool calls, as its template says."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from typing import TYPE_CHECKING, Any, NamedTuple

from .call_format import CallFormat, call_format
from .probes import Probe
from .thinking import ThoughtMarks, opens_thought, thought_marks

if TYPE_CHECKING:
    from ..tokenizer import Tokenizer

# What OpenAI's open models write: each message is in a channel, and may have a recipient.
# https://cookbook.openai.com/articles/openai-harmony
HARMONY_MARKS = (
    *("<|start|>", "<|channel|>", "<|constrain|>", "<|message|>", "<|end|>", "<|call|>"),
    "<|return|>",
)


class AnswerFormat(NamedTuple):
    """What divides the text of an answer.

    Attributes:
        probe: the template.
        thoughts: the marks around thoughts; None if the model has none.
        calls: how tool calls are written.
    """

    probe: Probe
    thoughts: ThoughtMarks | None
    calls: CallFormat

    @property
    def is_harmony(self) -> bool:
        """Whether messages have channels."""
        return self.thoughts is not None and "<|channel|>" in self.thoughts.start

    def opens_thought(self, variables: Mapping[str, Any], *, with_tools: bool) -> bool:
        """Return whether a prompt with these variables ends inside of a thought."""
        if self.thoughts is None or self.is_harmony:
            return False
        return opens_thought(self.probe.prompt(variables, with_tools=with_tools), self.thoughts)

    def visible_tokens(self, tokenizer: Tokenizer, *, with_tools: bool) -> frozenset[int]:
        """Return the control tokens that are marks, so that a parser must see their text."""
        marks = [*(self.thoughts or ()), *(HARMONY_MARKS if self.is_harmony else ())]
        if with_tools:
            marks += self.calls.marks
        return frozenset(
            token
            for mark in marks
            for token in tokenizer.encode(mark, add_bos=False)
            if tokenizer.is_control(token)
        )


@lru_cache(maxsize=16)
def answer_format(template: str, bos: str = "", eos: str = "") -> AnswerFormat:
    """Return the format of the answers of models with this chat template.

    Args:
        template: its source.
        bos, eos: the texts of the model's tokens.
    """
    probe = Probe(template, bos, eos)
    return AnswerFormat(probe, thought_marks(probe), call_format(probe))
