"""What holds calls to the tools of a request, and an answer to a grammar behind its thought."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, MutableMapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from ..grammar import rules_constraint
from ..grammar.expressions import Expression
from ..grammar.expressions import Sequence as Row
from ..grammar.gbnf import parse_gbnf
from ..grammar.lazy import LazyConstraint, Marks
from .answer_format import AnswerFormat
from .call_grammar import call_rules, lazy_trigger
from .text_rules import TextRules

if TYPE_CHECKING:
    from ..backends.logits import LogitsOps
    from ..grammar import Constraint
    from ..grammar.masks import GrammarMasks
    from ..tokenizer import Tokenizer

_Rules = dict[str, Expression]


class AnswerConstraints(NamedTuple):
    """Makes what holds the answers of a model.

    Attributes:
        format: of its answers.
        tokenizer, logits_ops, compiled: the model's; see `rules_constraint`.
    """

    format: AnswerFormat
    tokenizer: Tokenizer
    logits_ops: LogitsOps
    compiled: MutableMapping[str, GrammarMasks]

    def of_grammar(
        self, gbnf: str, variables: Mapping[str, Any], *, with_tools: bool
    ) -> Constraint:
        """Return what holds an answer to a grammar, but not the thought that precedes it.

        Raises:
            GrammarError: the grammar is wrong.
        """
        return self._behind_thought(gbnf, lambda: parse_gbnf(gbnf), variables, with_tools)

    def of_calls(
        self,
        tools: Sequence[Mapping[str, Any]],
        variables: Mapping[str, Any],
        *,
        must_call: bool = False,
        max_calls: int | None = None,
    ) -> Constraint | LazyConstraint:
        """Return what holds tool calls to the tools.

        Args:
            tools: in OpenAI's form, at least one.
            variables: of the template, such as enable_thinking.
            must_call: whether the answer, behind its thought, must be calls; else it may be text.
            max_calls: how many calls there may be; None is many.
        """
        calls = self.format.calls

        def rules() -> _Rules:
            return call_rules(
                calls, tools, self.tokenizer, max_calls=max_calls, after_trigger=not must_call
            )

        key = json.dumps([calls, tools, max_calls])
        if must_call:
            return self._behind_thought(key, rules, variables, True)
        thought = self.format.thoughts
        marks = Marks(
            [lazy_trigger(calls).encode()],
            (thought.start.encode(), thought.end.encode()) if thought else None,
            at_start=not calls.triggers and not self.format.is_harmony,
        )
        return LazyConstraint(
            lambda: self._constraint(key, rules),
            marks,
            self.tokenizer.token_bytes,
            is_thinking=self.format.opens_thought(variables, with_tools=True),
        )

    def _behind_thought(
        self, key: str, rules: Callable[[], _Rules], variables: Mapping[str, Any], with_tools: bool
    ) -> Constraint:
        marks = self.format.thoughts
        if marks is None:
            return self._constraint(key, rules)
        is_open = self.format.opens_thought(variables, with_tools=with_tools)

        def with_thought() -> _Rules:
            texts = TextRules(self.tokenizer)
            texts.rules["root"] = Row((texts.thought(marks, is_open=is_open), texts.add(rules())))
            return texts.rules

        return self._constraint(f"{marks} {is_open} {key}", with_thought)

    def _constraint(self, key: str, rules: Callable[[], _Rules]) -> Constraint:
        return rules_constraint(key, rules, self.tokenizer, self.logits_ops, self.compiled)
