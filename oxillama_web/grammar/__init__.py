"""Answers that follow a grammar: GBNF, or a JSON Schema that is compiled to it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .automaton import build_automaton
from .gbnf import parse_gbnf
from .masks import Constraint, GrammarMasks, Vocabulary

if TYPE_CHECKING:
    from collections.abc import MutableMapping

    from ..backends.logits import LogitsOps
    from ..sampling.config import SamplerConfig
    from ..tokenizer import Tokenizer

__all__ = ["Constraint", "constraint"]

# Grammars that are kept for a model.
_MOST_KEPT = 8


def constraint(
    config: SamplerConfig,
    tokenizer: Tokenizer,
    logits_ops: LogitsOps,
    kept: MutableMapping[str, GrammarMasks],
) -> Constraint | None:
    """What keeps an answer within `config`'s grammar or schema; None if it has neither.

    Args:
        kept: the model's grammars so far, by their GBNF.

    Raises:
        GrammarError: the grammar or schema is wrong or not supported.
    """
    text = config.grammar
    if config.json_schema is not None:
        from .json_schema import json_schema_to_gbnf  # a grammar does not need it

        text = json_schema_to_gbnf(config.json_schema)
    if text is None:
        return None
    masks = kept.pop(text, None)
    if masks is None:
        others = next(iter(kept.values()), None)
        vocabulary = others.vocabulary if others else Vocabulary(tokenizer)
        masks = GrammarMasks(build_automaton(parse_gbnf(text)), vocabulary)
    while len(kept) >= _MOST_KEPT:
        del kept[next(iter(kept))]
    kept[text] = masks
    return Constraint(masks, logits_ops)
