"""Patterns and formats of strings against Python's regular expressions and jsonschema's checks."""

from __future__ import annotations

import json
import re

import pytest
from grammar_helpers import LOGITS_OPS, PIECES, accepts, random_answer, shared_masks
from hypothesis import given, settings
from hypothesis import strategies as st
from jsonschema import Draft202012Validator
from numpy.random import default_rng

from oxillama_web.grammar.json_schema import json_schema_to_gbnf
from oxillama_web.grammar.schema.formats import _FORMATS
from oxillama_web.grammar.schema.machines import Complement, explore, lengths
from oxillama_web.grammar.schema.machines import accepts as machine_accepts
from oxillama_web.grammar.schema.regex import parse_regex
from oxillama_web.grammar.schema.regex_machine import RegexMachine

ATOMS = st.sampled_from(["a", "b", "_", "[ab]", "[^a]", r"\w", r"\d", ".", r"\b", r"\B", "^", "$"])


def repeated(inner: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    groups = inner.map(lambda part: f"(?:{part})")
    return st.one_of(
        st.lists(inner, min_size=1, max_size=3).map("".join),
        st.lists(groups, min_size=1, max_size=3).map("|".join),
        st.tuples(groups, st.sampled_from(["*", "+", "?", "{2}", "{1,2}", "*?"])).map("".join),
        inner.map(lambda part: f"(?={part})"),
        inner.map(lambda part: f"(?!{part})"),
    )


PATTERNS = st.recursive(ATOMS, repeated, max_leaves=8)


@settings(max_examples=300, deadline=None)
@given(PATTERNS, st.lists(st.text("ab_1 -", max_size=6), max_size=8))
def test_patterns_match_as_in_python(pattern: str, texts: list[str]) -> None:
    regex = parse_regex(pattern)
    for machine in (RegexMachine(regex), RegexMachine(regex, outer=True)):
        for text in texts:
            if not text and r"\B" in pattern:
                continue  # dialects differ
            found = machine_accepts(machine, text)
            assert found == bool(re.search(pattern, text)), (pattern, text)
            assert machine_accepts(Complement(machine), text) != found


@settings(max_examples=60, deadline=None)
@given(PATTERNS, st.integers(0, 4), st.integers(0, 4), st.lists(st.text("ab_1", max_size=6)))
def test_patterns_and_lengths_together(
    pattern: str, least: int, more: int, texts: list[str]
) -> None:
    schema = {"type": "string", "pattern": pattern, "minLength": least}
    schema["maxLength"] = least + more
    # there is a grammar even if no string fits
    gbnf = json_schema_to_gbnf({"anyOf": [schema, {"type": "null"}]})
    for text in texts:
        if not text and r"\B" in pattern:
            continue
        valid = bool(re.search(pattern, text)) and least <= len(text) <= least + more
        assert accepts(gbnf, json.dumps(text)) == valid, (schema, text)


def test_dialects_differ_and_what_is_written_is_of_all() -> None:
    pairs = [(r"^\w$", "é"), (r"^\d$", "\u0663"), (r"^[^\w]$", "é"), ("a$", "a\n"), (".", "\r")]
    for pattern, in_some in pairs:
        regex = parse_regex(pattern)
        assert not machine_accepts(RegexMachine(regex), in_some)
        assert machine_accepts(RegexMachine(regex, outer=True), in_some)


def test_shortest_and_longest_texts() -> None:
    dfa = explore(RegexMachine(parse_regex("^(ab|c){2,3}$")), ((0, 0x10FFFF),), "it")
    assert dfa is not None
    shortest, longest = lengths(dfa)
    assert (shortest[0], longest[0]) == (2, 6)


@pytest.mark.parametrize("name", sorted(_FORMATS))
def test_what_is_written_for_a_format_is_of_it(name: str) -> None:
    schema = {"type": "string", "format": name}
    validator = Draft202012Validator(schema, format_checker=Draft202012Validator.FORMAT_CHECKER)
    masks = shared_masks(json_schema_to_gbnf(schema), PIECES)
    likes = {ord('"'): 6.0} | dict.fromkeys(PIECES.eog_ids, 1.0)
    rng = default_rng(1)
    n_finished = 0
    for _ in range(8):
        answer = random_answer(masks, LOGITS_OPS["kernels"], rng, likes=likes, max_tokens=1000)
        if answer is not None:
            n_finished += 1
            assert validator.is_valid(json.loads(answer.decode())), answer
    assert n_finished
