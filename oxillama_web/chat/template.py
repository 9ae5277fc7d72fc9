"""Renders a model's chat template: from messages to the prompt that the model was trained on.

Templates are Jinja2, rendered as Hugging Face transformers does (`apply_chat_template`). They come
with the model file and are not trusted: sandbox.py bounds what they can reach and use.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from ..errors import ChatTemplateError

if TYPE_CHECKING:
    from .sandbox import Sandbox

# The longest known templates have some 60,000 characters.
MAX_TEMPLATE_CHARS = 500_000
MAX_DEPTH = 64


def render_chat_template(
    template: str,
    messages: Sequence[Mapping[str, Any]],
    add_generation_prompt: bool = True,
    bos_token: str = "",
    eos_token: str = "",
    tools: Sequence[Mapping[str, Any]] | None = None,
    **extra: Any,
) -> str:
    """Return the prompt for a conversation.

    Args:
        template: Jinja2 source, from the model file.
        messages: each with "role" and "content"; plain data (dicts, lists, text, numbers).
        add_generation_prompt: whether to end with the start of the assistant's turn.
        bos_token, eos_token: the texts of these tokens; most templates write them.
        tools: descriptions of functions as JSON Schema, for models that call tools.
        extra: further variables of the template, such as enable_thinking; plain data.

    Raises:
        ChatTemplateError: jinja2 is missing; or the template is broken, refuses the messages,
            reaches for what it must not, or uses too much time or memory.
    """
    variables = {
        "messages": list(messages),
        "tools": tools,
        "documents": None,
        "add_generation_prompt": add_generation_prompt,
        "bos_token": bos_token,
        "eos_token": eos_token,
        **extra,
    }
    plain = {name: _plain(value, name, 0) for name, value in variables.items()}
    return _sandbox(template).render(plain)


@lru_cache(maxsize=4)
def _sandbox(template: str) -> Sandbox:
    if len(template) > MAX_TEMPLATE_CHARS:
        raise ChatTemplateError(
            f"the chat template has {len(template)} characters; {MAX_TEMPLATE_CHARS} are the most"
        )
    try:
        from .sandbox import Sandbox
    except ImportError as error:
        raise ChatTemplateError(
            "chat templates need jinja2: install it, or format the prompt yourself and use "
            "generate() or stream()"
        ) from error
    return Sandbox(template)


def _plain(value: Any, name: str, depth: int) -> Any:
    """Copy into dicts, lists, text and numbers: no object of the caller reaches the template."""
    if depth > MAX_DEPTH:
        raise ChatTemplateError(f"{name} is nested more than {MAX_DEPTH} deep")
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    if isinstance(value, Mapping):
        return {str(key): _plain(item, name, depth + 1) for key, item in value.items()}
    if isinstance(value, Sequence) and not isinstance(value, (bytes, bytearray, memoryview)):
        return [_plain(item, name, depth + 1) for item in value]
    raise ChatTemplateError(
        f"{name} holds a {type(value).__name__}; a chat template takes dicts, lists, text, numbers"
    )
