"""The JSON-Schema-Test-Suite: nothing invalid can be written, and nine tenths of what is valid.

Not counted are the schemas that are refused; they are listed with the reason.
"""

from __future__ import annotations

import gzip
import json
import re
from collections import Counter
from typing import Any

import pytest
from grammar_helpers import shared_masks
from paths import GOLDEN

from oxillama_web import GrammarError
from oxillama_web.grammar.json_schema import json_schema_to_gbnf

SUITE = json.loads(gzip.decompress((GOLDEN / "json_schema_suite.json.gz").read_bytes()))
REASONS = re.compile(
    "points out of the schema|several targets|several contains|beside prefixItems or contains|"
    "only multiples of numbers up to|does not hold cannot be written|ends"
)
# the address that says which draft a schema is of, where the suite leaves that out
ADDRESSES = {"draft4": "http://json-schema.org/draft-04/schema#",
             "draft7": "http://json-schema.org/draft-07/schema#"}  # fmt: skip


def can_be_written(masks: Any, value: object) -> bool:
    matcher = masks.matcher
    for separators in ((",", ":"), (", ", ": ")):
        text = json.dumps(value, ensure_ascii=False, separators=separators)
        state = matcher.step(matcher.start, text.encode())
        if state and matcher.accepts(state):
            return True
    return False


@pytest.mark.parametrize("draft", [draft for draft in SUITE if draft != "license"])
def test_no_invalid_document_can_be_written_and_most_valid_ones_can(draft: str) -> None:
    counts: Counter[str] = Counter()
    for name, cases in SUITE[draft].items():
        for case in cases:
            schema = case["schema"]
            if isinstance(schema, dict) and draft in ADDRESSES:
                schema = {"$schema": ADDRESSES[draft], **schema}
            try:
                masks = shared_masks(json_schema_to_gbnf(schema))
            except GrammarError as error:
                assert REASONS.search(str(error)), (name, schema, error)
                counts["refused"] += "ends" not in str(error)
                continue
            counts["compiled"] += 1
            for data, valid in case["tests"]:
                written = can_be_written(masks, data)
                assert valid or not written, (name, schema, data)
                counts["valid"] += valid
                counts["written"] += written
    assert counts["written"] >= 0.9 * counts["valid"], counts
    assert counts["refused"] <= 0.1 * counts["compiled"], counts
