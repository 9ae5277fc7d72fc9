"""A request of `/v1/responses`, as the request of a chat that has the same answer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from .answers import Json
from .errors import APIError, invalid

# What an item may be called where a message of a chat has the same role.
_ROLES = ("system", "developer", "user", "assistant")
_TEXT_PARTS = ("input_text", "output_text", "text", "reasoning_text", "summary_text")


def chat_messages(wanted: Any, instructions: str | None) -> list[Json]:
    """Return the messages of a chat.

    What a model has said in one turn, its thought, its text and its calls, are items of their own
    here, and one message there.

    Args:
        wanted: the input, a text or a list of items.
        instructions: precede it, unless they are None.

    Raises:
        APIError: an item is of no kind that a chat template takes.
    """
    messages: list[Json] = []
    if instructions is not None:
        messages.append({"role": "system", "content": instructions})
    if isinstance(wanted, str):
        return [*messages, {"role": "user", "content": wanted}]
    if not isinstance(wanted, (list, tuple)) or not wanted:
        raise invalid("input", f"input is {wanted!r:.80}; it must be a text or a list of items")
    for index, item in enumerate(wanted):
        _add_item(messages, item, f"input[{index}]")
    return messages


def chat_tools(tools: Sequence[Any]) -> list[Json]:
    """Return the tools in the form of chats, which nests what functions are.

    Raises:
        APIError: a tool is none of the caller's functions.
    """
    read = []
    for index, tool in enumerate(tools):
        kind = tool.get("type") if isinstance(tool, Mapping) else None
        if kind != "function":
            where = f"tools[{index}]"
            raise invalid(where, f"{where} is {kind!r}; functions are all that can be called")
        read.append({"type": "function", "function": {k: tool[k] for k in tool if k != "type"}})
    return read


def chat_tool_choice(choice: Any) -> Any:
    """Return the choice among tools in the form of chats."""
    if not isinstance(choice, Mapping):
        return choice
    if choice.get("type") == "allowed_tools":
        names = [_named(tool) for tool in choice.get("tools") or ()]
        allowed = {"mode": choice.get("mode", "auto"), "tools": names}
        return {"type": "allowed_tools", "allowed_tools": allowed}
    return _named(choice)


def chat_response_format(text: Mapping[str, Any]) -> Any:
    """Return the format of `text` in the form of chats.

    Raises:
        APIError: `text` has something else that cannot be honoured.
    """
    for name, value in text.items():
        if name not in ("format", "verbosity"):
            raise invalid(f"text.{name}", f"unknown parameter 'text.{name}'")
        if name == "verbosity" and value not in (None, "medium"):
            raise invalid("text.verbosity", f"text.verbosity is {value!r}; it must be 'medium'")
    wanted = text.get("format")
    if not isinstance(wanted, Mapping) or wanted.get("type") != "json_schema":
        return wanted
    named = {key: value for key, value in wanted.items() if key != "type"}
    return {"type": "json_schema", "json_schema": named}


def _named(tool: Any) -> Any:
    if isinstance(tool, Mapping) and tool.get("type") == "function":
        return {"type": "function", "function": {"name": tool.get("name")}}
    return tool


def _add_item(messages: list[Json], item: Any, where: str) -> None:
    """Add an item as a message, or to the message of its turn."""
    if not isinstance(item, Mapping):
        raise invalid(where, f"{where} is no object")
    kind = item.get("type", "message" if "role" in item else None)
    if kind == "message":
        _add_message(messages, item, where)
    elif kind == "reasoning":
        parts = item.get("content") or item.get("summary") or ()
        messages.append({"role": "assistant", "reasoning_content": _text(parts, where)})
    elif kind == "function_call":
        name, arguments = item.get("name"), item.get("arguments")
        if not isinstance(name, str) or not isinstance(arguments, str):
            raise invalid(where, f"{where} needs a name and arguments, which are texts")
        function = {"name": name, "arguments": arguments}
        call = {"id": item.get("call_id"), "type": "function", "function": function}
        _turn(messages).setdefault("tool_calls", []).append(call)
    elif kind == "function_call_output":
        content = _text(item.get("output"), where)
        messages.append({"role": "tool", "tool_call_id": item.get("call_id"), "content": content})
    else:
        raise invalid(where, f"{where} is of type {kind!r}, which cannot be used here")


def _add_message(messages: list[Json], item: Mapping[str, Any], where: str) -> None:
    role, content = item.get("role"), _text(item.get("content"), where)
    if role not in _ROLES:
        raise invalid(f"{where}.role", f"{where}.role is {role!r}; it must be one of {_ROLES}")
    last = messages[-1] if messages else {}
    if role == "assistant" and last.get("role") == "assistant" and "content" not in last:
        last["content"] = content
    else:
        messages.append({"role": role, "content": content})


def _turn(messages: list[Json]) -> Json:
    """Return the message of the model's turn under way, which may be a new one."""
    if not messages or messages[-1]["role"] != "assistant":
        messages.append({"role": "assistant"})
    return messages[-1]


def _text(content: Any, where: str) -> str:
    """Return a content as one text."""
    if isinstance(content, str):
        return content
    if not isinstance(content, (list, tuple)):
        raise APIError(400, f"{where} has no text: its content is {content!r:.80}", param=where)
    texts = []
    for part in content:
        kind = part.get("type") if isinstance(part, Mapping) else None
        text = part.get("refusal" if kind == "refusal" else "text") if kind else None
        if kind not in (*_TEXT_PARTS, "refusal") or not isinstance(text, str):
            raise invalid(where, f"this model reads text; {where} has {kind!r}")
        texts.append(text)
    return "".join(texts)
