"""Answers that follow a grammar: GBNF, or a JSON Schema that is compiled to it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from .automaton import build_automaton
from .gbnf import parse_gbnf
from .masks import Constraint, GrammarMasks, Vocabulary

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, MutableMapping

    from ..backends.logits import LogitsOps
    from ..tokenizer import Tokenizer
    from .expressions import Expression

__all__ = ["Constraint", "constraint", "rules_constraint"]

# Grammars that a model keeps.
_MAX_GRAMMARS = 8


def constraint(
    grammar: str | None,
    json_schema: Mapping[str, Any] | bool | str | None,
    tokenizer: Tokenizer,
    logits_ops: LogitsOps,
    compiled: MutableMapping[str, GrammarMasks],
) -> Constraint | None:
    """Return what keeps an answer within a grammar or a schema; None if both are None.

    Args:
        grammar: GBNF.
        compiled: the model's grammars so far by their GBNF, the least recently used first.

    Raises:
        GrammarError: the grammar or schema is wrong or not supported.
    """
    text = grammar
    if json_schema is not None:
        from .json_schema import json_schema_to_gbnf  # a grammar does not need it

        text = json_schema_to_gbnf(json_schema)
    if text is None:
        return None
    source = text
    return rules_constraint(text, lambda: parse_gbnf(source), tokenizer, logits_ops, compiled)


def rules_constraint(
    key: str,
    rules: Callable[[], dict[str, Expression]],
    tokenizer: Tokenizer,
    logits_ops: LogitsOps,
    compiled: MutableMapping[str, GrammarMasks],
) -> Constraint:
    """Return what keeps an answer within the rules of a grammar.

    Args:
        key: by which the grammar is kept.
        rules: returns the rules by name, as `parse_gbnf` does.
        compiled: see `constraint`.

    Raises:
        GrammarError: the grammar is too large, left-recursive, or matches nothing.
    """
    masks = compiled.pop(key, None)
    if masks is None:
        others = next(iter(compiled.values()), None)
        vocabulary = others.vocabulary if others else Vocabulary(tokenizer)
        masks = GrammarMasks(build_automaton(rules()), vocabulary)
    while len(compiled) >= _MAX_GRAMMARS:
        del compiled[next(iter(compiled))]
    compiled[key] = masks
    return Constraint(masks, logits_ops)
