"""What Hugging Face transformers adds to Jinja2, for chat templates."""

from __future__ import annotations

import json
from typing import Any, NoReturn

from jinja2 import nodes
from jinja2.environment import Environment
from jinja2.exceptions import TemplateError
from jinja2.ext import Extension, loopcontrols
from jinja2.parser import Parser
from jinja2.utils import pass_environment


class _GenerationTag(Extension):
    """{% generation %} marks the assistant's text for training; here it only shows its content."""

    tags = {"generation"}  # noqa: RUF012

    def parse(self, parser: Parser) -> list[nodes.Node]:
        """Return the nodes between the tags."""
        next(parser.stream)
        return parser.parse_statements(("name:endgeneration",), drop_needle=True)


@pass_environment
def _to_json(
    environment: Environment,
    value: Any,
    ensure_ascii: bool = False,
    indent: int | None = None,
    separators: tuple[str, str] | None = None,
    sort_keys: bool = False,
) -> str:
    encoder = json.JSONEncoder(
        ensure_ascii=ensure_ascii, indent=indent, separators=separators, sort_keys=sort_keys
    )
    if indent is None:
        return encoder.encode(value)
    # piece by piece, so that the sandbox can stop it
    return environment.concat(encoder.iterencode(value))


def _raise_exception(message: object) -> NoReturn:
    raise TemplateError(str(message))


def _strftime_now(format_: str) -> str:
    from datetime import datetime

    if len(format_) > 1_000:
        raise TemplateError("a date format is too long")
    return datetime.now().strftime(format_)


EXTENSIONS = (loopcontrols, _GenerationTag)
FILTERS = {"tojson": _to_json}
FUNCTIONS = {"raise_exception": _raise_exception, "strftime_now": _strftime_now}
