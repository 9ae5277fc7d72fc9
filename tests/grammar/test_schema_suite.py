"""The JSON-Schema-Test-Suite: nothing invalid can be written, and nine tenths of what is valid.

What is valid by a schema that is refused counts as what cannot be written.
"""

from __future__ import annotations

import gzip
import json
import re
from collections import Counter
from functools import cache

import pytest
from paths import GOLDEN

from oxillama_web import GrammarError
from oxillama_web.grammar.automaton import build_automaton
from oxillama_web.grammar.gbnf import parse_gbnf
from oxillama_web.grammar.json_schema import json_schema_to_gbnf
from oxillama_web.grammar.matcher import Matcher

SUITE = json.loads(gzip.decompress((GOLDEN / "json_schema_suite.json.gz").read_bytes()))
DRAFTS = [draft for draft in SUITE if draft not in ("license", "documents")]
REASONS = re.compile(
    "several contains|uniqueItems beside prefixItems|"
    "only multiples of numbers up to|does not hold cannot be written|ends"
)
# the address that says which draft a schema is of, where the suite leaves that out
ADDRESSES = {f"draft{n}": f"http://json-schema.org/draft-0{n}/schema#" for n in (4, 6, 7)}


@cache
def matcher_of(gbnf: str) -> Matcher:
    """The drafts have most schemas in common."""
    return Matcher(build_automaton(parse_gbnf(gbnf)), {})


def can_be_written(matcher: Matcher, value: object) -> bool:
    for separators in ((",", ":"), (", ", ": ")):
        text = json.dumps(value, ensure_ascii=False, separators=separators)
        state = matcher.step(matcher.start, text.encode())
        if state and matcher.accepts(state):
            return True
    return False


@pytest.mark.parametrize("draft", DRAFTS)
def test_no_invalid_document_can_be_written_and_most_valid_ones_can(draft: str) -> None:
    counts: Counter[str] = Counter()
    for name, cases in SUITE[draft].items():
        for case in cases:
            counts["valid"] += sum(valid for _, valid in case["tests"])
            schema = case["schema"]
            if isinstance(schema, dict) and draft in ADDRESSES:
                schema = {"$schema": ADDRESSES[draft], **schema}
            try:
                gbnf = json_schema_to_gbnf(schema, documents=SUITE["documents"])
                matcher = matcher_of(gbnf)
            except GrammarError as error:
                assert REASONS.search(str(error)), (name, schema, error)
                continue
            for data, valid in case["tests"]:
                written = can_be_written(matcher, data)
                assert valid or not written, (name, schema, data)
                counts["written"] += written
    assert counts["written"] >= 0.9 * counts["valid"], counts
