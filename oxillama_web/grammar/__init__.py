"""Answers that follow a grammar: GBNF, or a JSON Schema that is compiled to it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from .automaton import build_automaton
from .gbnf import parse_gbnf
from .masks import Constraint, GrammarMasks, Vocabulary

if TYPE_CHECKING:
    from collections.abc import Mapping, MutableMapping

    from ..backends.logits import LogitsOps
    from ..tokenizer import Tokenizer

__all__ = ["Constraint", "constraint"]

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
    masks = compiled.pop(text, None)
    if masks is None:
        others = next(iter(compiled.values()), None)
        vocabulary = others.vocabulary if others else Vocabulary(tokenizer)
        masks = GrammarMasks(build_automaton(parse_gbnf(text)), vocabulary)
    while len(compiled) >= _MAX_GRAMMARS:
        del compiled[next(iter(compiled))]
    compiled[text] = masks
    return Constraint(masks, logits_ops)
