"""Grammars of tool calls: what a model writes in its format, with arguments that fit the tools."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from ..errors import GrammarError
from ..grammar.expressions import Choice, Expression, Reference, Repeat
from ..grammar.expressions import Sequence as Row
from ..grammar.gbnf import parse_gbnf
from ..grammar.json_schema import json_schema_to_gbnf
from .call_format import ANY, CallFormat
from .text_rules import SPACE, TextRules, chars

if TYPE_CHECKING:
    from ..tokenizer import Tokenizer

_MAX_CALLS = 64
_HEADERS = (" <|constrain|>json<|message|>", " json<|message|>", "<|message|>")
_PLAIN = ("integer", "number", "boolean", "null")


def lazy_trigger(format_: CallFormat) -> str:
    """Return the text from which on a call's grammar can hold."""
    if format_.triggers:
        return format_.triggers[0]
    return _head(format_).rstrip() or _object_head(format_)


def call_rules(
    format_: CallFormat,
    tools: Sequence[Mapping[str, Any]],
    tokenizer: Tokenizer,
    *,
    max_calls: int | None = None,
    after_trigger: bool = True,
) -> dict[str, Expression]:
    """Return the rules of an answer that calls tools, and ends.

    Args:
        format_: how the model writes calls.
        tools: in OpenAI's form. Arguments of a schema that no grammar can keep are any JSON object,
            unless the tool is strict.
        tokenizer: has the marks that are control tokens.
        max_calls: how many calls there may be; None is many.
        after_trigger: whether the text begins behind `lazy_trigger`, or else with white space.

    Raises:
        GrammarError: the schema of a strict tool cannot be kept.
    """
    return _CallRules(format_, tokenizer).build(tools, max_calls or _MAX_CALLS, after_trigger)


class _CallRules(TextRules):
    def __init__(self, format_: CallFormat, tokenizer: Tokenizer) -> None:
        super().__init__(tokenizer)
        self._format = format_
        self._is_strict = False

    def build(
        self, tools: Sequence[Mapping[str, Any]], max_calls: int, after_trigger: bool
    ) -> dict[str, Expression]:
        format_ = self._format
        bodies = [self._call(tool["function"]) for tool in tools]
        self.rules["call"] = Choice(tuple(bodies))
        call = Row((Reference("call"), self.text(format_.close)))
        further = Row((self.text(format_.separator + format_.open), call))
        head = _head(format_)
        rest: list[Expression] = [call, Repeat(further, 0, max_calls - 1)]
        rest.append(self.text(format_.section_end))
        if after_trigger and not format_.triggers and not head.rstrip():
            # the trigger is the beginning of the first object
            heads = tuple(self._call(tool["function"], is_open=True) for tool in tools)
            rest[0] = Row((Choice(heads), self.text(format_.close)))
            start: Expression = Row(())
        elif after_trigger:
            start = self.text(head[len(lazy_trigger(format_)) :])
        else:
            start = Row((SPACE, self.text(head)))
        self.rules["root"] = Row((start, *rest))
        return self.rules

    def _call(self, function: Mapping[str, Any], *, is_open: bool = False) -> Expression:
        """Return a call from its name or object on, or behind an object's head."""
        format_, name = self._format, function["name"]
        self._is_strict = function.get("strict") is True
        schema = {"type": "object", **(function.get("parameters") or {})}
        middle = self.text(format_.middle)
        if format_.kind == "object":
            head = "" if is_open else _object_head(format_)
            text = f'{head}{json.dumps(name)[1:-1]}", "{format_.arguments_key}": '
            return Row((self.text(text), self._json(schema), self.text("}")))
        if format_.kind == "keyed":
            text = f"{{{json.dumps(name)}: "
            return Row((self.text(text), self._json(schema), self.text("}")))
        if format_.kind == "json":
            if "<|message|>" in format_.middle:
                middle = Choice((middle, *map(self.text, _HEADERS)))
            return Row((self.text(name), middle, self._json(schema)))
        if format_.kind == "tagged":
            pairs = self._tagged(schema)
        elif format_.kind == "python":
            pairs = Row((self._pairs(schema, "="), self.text("")))
        else:
            pairs = Row((self.text("{"), self._pairs(schema, ":"), self.text("}")))
        return Row((self.text(name), middle, pairs))

    # arguments

    def _json(self, schema: Mapping[str, Any]) -> Expression:
        """Return JSON that fits a schema."""
        try:
            rules = parse_gbnf(json_schema_to_gbnf(schema))
        except GrammarError:
            if self._is_strict:
                raise
            rules = parse_gbnf(json_schema_to_gbnf({"type": schema.get("type", "object")}))
        return self.add(rules)

    def _tagged(self, schema: Mapping[str, Any]) -> Expression:
        """Return arguments between marks, in the order of the schema."""
        tagged, required = self._format.tagged, schema.get("required", ())
        items: list[Expression] = []
        for key, value in _properties(schema):
            is_text = value.get("type") == "string"
            head = self.text(tagged.key + key + (tagged.text if is_text else tagged.other))
            end = tagged.end.strip() if is_text else tagged.end
            tail = self.text(tagged.end.rpartition(end)[2])
            if is_text and isinstance(value.get("enum"), list):
                texts = [str(item) for item in value["enum"]]
                lead = self.text(tagged.end.partition(end)[0])
                body: Expression = Choice(tuple(Row((*chars(text), lead)) for text in texts))
                body = Row((body, self.text(end)))
            elif is_text:
                body = self.text_until(end)
            else:
                body = Row((self._json(value), self.text(end)))
            item = Row((head, body, tail))
            items.append(item if key in required else Repeat(item, 0, 1))
        return Row(tuple(items))

    def _pairs(self, schema: Mapping[str, Any], equals: str) -> Expression:
        """Return arguments with commas between them, in the order of the schema."""
        required = schema.get("required", ())
        comma = self.text(", " if equals == "=" else ",")
        options: list[Expression] = []
        pairs = [
            (Row((*chars(key + equals), self._value(value))), key in required)
            for key, value in _properties(schema)
        ]
        tail: Expression = Row(())
        has_required = False
        # from the last one on: what follows a pair, and the texts that begin with it
        for pair, is_required in reversed(pairs):
            name = self.name("pair")
            self.rules[name] = Row((pair, tail))
            if is_required:
                options, has_required = [], True
            options.append(Reference(name))
            follower = Row((comma, Reference(name)))
            tail = follower if is_required else Choice((follower, tail))
        return Choice((*options, *(() if has_required else (Row(()),))))

    def _value(self, schema: Mapping[str, Any], depth: int = 0) -> Expression:
        """Return a value of an argument that is no JSON, but for numbers and words."""
        quote = self._format.quote
        kind = schema.get("type")
        if not quote or kind in _PLAIN or depth > 8:
            return self._json(schema)
        if isinstance(schema.get("enum"), list) and kind == "string":
            mark = self.text(quote)
            return Choice(tuple(Row((mark, *chars(str(v)), mark)) for v in schema["enum"]))
        if kind == "array":
            items = schema.get("items")
            item = self._value(items if isinstance(items, Mapping) else {}, depth + 1)
            more = Repeat(Row((*chars(","), item)), 0, None)
            return Row((*chars("["), Repeat(Row((item, more)), 0, 1), *chars("]")))
        if kind == "object":
            return Row((*chars("{"), self._pairs(schema, ":"), *chars("}")))
        return Row((self.text(quote), self.text_until(quote)))


def _head(format_: CallFormat) -> str:
    """Return what precedes the first call."""
    text = format_.section + format_.open
    return text.lstrip() if format_.triggers else text


def _object_head(format_: CallFormat) -> str:
    lead = format_.lead.replace(ANY, "0")
    return f'{{{lead}"{format_.name_key}": "'


def _properties(schema: Mapping[str, Any]) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Yield the properties, each with the definitions that it may refer to."""
    shared = {key: schema[key] for key in ("$defs", "definitions") if key in schema}
    for key, value in (schema.get("properties") or {}).items():
        yield key, {**shared, **value} if isinstance(value, Mapping) else {}
