"""Compiles JSON Schema to GBNF: what the grammar matches is JSON that validates.

https://json-schema.org/draft/2020-12, and the drafts since 4. See `schema` for how. Not every value
that validates can be written: properties come in the schema's order, and those that it does not
name only where it says so. What cannot be kept is an error.
"""

from __future__ import annotations

import json
from collections.abc import Mapping

from ..errors import GrammarError
from .schema.compiler import Compiler
from .schema.documents import Schema


def json_schema_to_gbnf(
    schema: Schema | str, *, spaces: bool = True, documents: Mapping[str, Schema] | None = None
) -> str:
    """Return a grammar, in GBNF, of JSON that validates against a schema.

    Args:
        schema: as a mapping, or as JSON text.
        spaces: whether there may be a space or a new line between parts; without, JSON is compact.
        documents: other schemas by their addresses, to which references may point. Nothing is
            fetched.

    Raises:
        GrammarError: the schema is wrong, or asks for what cannot be written.
    """
    if isinstance(schema, str):
        try:
            schema = json.loads(schema)
        except (ValueError, RecursionError) as error:
            raise GrammarError(f"the JSON schema is no JSON: {error}") from error
    try:
        return Compiler(schema, documents).compile(spaces=spaces)
    except RecursionError as error:
        raise GrammarError("the JSON schema has parts too deeply inside of each other") from error
