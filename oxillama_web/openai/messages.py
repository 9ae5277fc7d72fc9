"""Messages as the API's clients send them, as those that a chat template takes."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from .errors import APIError, invalid

_ROLES = ("system", "developer", "user", "assistant", "tool", "function")
# What a message may have besides role, content and tool_calls. Templates know the first ones; the
# others are in messages that the API itself has returned, and say nothing to a template.
_TEMPLATE_KEYS = ("name", "tool_call_id", "reasoning_content")
_RETURNED_KEYS = ("refusal", "annotations", "audio", "function_call")


def read_messages(messages: Sequence[Any], *, knows_developer: bool) -> list[dict[str, Any]]:
    """Return messages for a chat template.

    Args:
        messages: of a request.
        knows_developer: whether the template has the role "developer"; else its messages are the
            system's.

    Raises:
        APIError: a message is not one, or has what no template takes.
    """
    if not messages:
        raise invalid("messages", "messages is empty; a chat begins with at least one message")
    return [
        _read_message(message, f"messages[{index}]", knows_developer)
        for index, message in enumerate(messages)
    ]


def _read_message(message: Any, where: str, knows_developer: bool) -> dict[str, Any]:
    if not isinstance(message, Mapping):
        raise invalid(where, f"{where} is no object")
    role = message.get("role")
    if role not in _ROLES:
        raise invalid(f"{where}.role", f"{where}.role is {role!r}; it must be one of {_ROLES}")
    if role == "developer" and not knows_developer:
        role = "system"
    read: dict[str, Any] = {"role": role, "content": _text(message.get("content"), where)}
    for key, value in message.items():
        if key in ("role", "content") or value is None:
            continue
        if key == "tool_calls":
            read[key] = [
                _read_call(call, f"{where}.tool_calls[{index}]")
                for index, call in enumerate(_list(value, f"{where}.tool_calls"))
            ]
        elif key in _TEMPLATE_KEYS:
            read[key] = value
        elif key not in _RETURNED_KEYS or (value and key != "annotations"):
            raise invalid(f"{where}.{key}", f"{where} has {key!r}, which no chat template takes")
    return read


def _text(content: Any, where: str) -> str:
    """Return a content as one text: the API has lists of parts, too."""
    if content is None:
        return ""
    if isinstance(content, str):
        return content
    texts = []
    for part in _list(content, f"{where}.content"):
        kind = part.get("type") if isinstance(part, Mapping) else None
        text = part.get("refusal" if kind == "refusal" else "text") if kind else None
        if kind not in ("text", "refusal") or not isinstance(text, str):
            raise invalid(f"{where}.content", f"this model reads text; {where} has {kind!r}")
        texts.append(text)
    return "".join(texts)


def _read_call(call: Any, where: str) -> dict[str, Any]:
    """Return a tool call whose arguments are an object, as templates take them."""
    function = call.get("function") if isinstance(call, Mapping) else None
    name = function.get("name") if isinstance(function, Mapping) else None
    if not isinstance(function, Mapping) or not isinstance(name, str):
        raise invalid(where, f"{where} is no call of a function")
    arguments = function.get("arguments")
    if isinstance(arguments, str):
        try:
            arguments = json.loads(arguments) if arguments.strip() else {}
        except (ValueError, RecursionError):
            arguments = None
    if not isinstance(arguments, Mapping):
        raise invalid(where, f"the arguments of {where} are not a JSON object")
    function = {"name": name, "arguments": arguments}
    return {"id": call.get("id"), "type": "function", "function": function}


def _list(value: Any, where: str) -> Sequence[Any]:
    if not isinstance(value, (list, tuple)):
        raise APIError(400, f"{where} is {value!r:.80}; it must be a list", param=where)
    return value
