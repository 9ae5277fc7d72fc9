"""Renders made-up conversations with a chat template, to see how it writes each part of them."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from ..errors import ChatTemplateError
from .template import render_chat_template

# Texts that no template writes by itself.
QUESTION, ANSWER, THOUGHT = "zqquestion", "zqanswer", "zqthought"
NAMES, IDS = ("zqfirst", "zqsecond"), ("zqidxxxx1", "zqidxxxx2")  # as long as Mistral wants
KEYS, TEXTS, NUMBER = ("zqkey", "zqnext"), ("zqred", "zqblue"), 73519
_NO_MARK = re.compile(r"[<\[][^<>\[\]]*$")


class Probe:
    """A chat template, and the texts of the tokens that it may ask for."""

    def __init__(self, source: str, bos: str = "", eos: str = "") -> None:
        self.source = source
        self._tokens = {"bos_token": bos, "eos_token": eos}

    def prompt(
        self, variables: Mapping[str, Any] | None = None, *, with_tools: bool = False
    ) -> str:
        """Return what follows a question in a prompt, and is the beginning of the answer."""
        return self._render([_USER], with_tools, True, variables).rpartition(QUESTION)[2]

    def tools_prompt(self) -> str:
        """Return what precedes a question in a prompt with tools."""
        return self._render([_USER], True, True).rpartition(QUESTION)[0]

    def answer(self, message: Mapping[str, Any], *, with_tools: bool = False) -> str:
        """Return what follows a question where this is the answer."""
        messages = [_USER, {"role": "assistant", "content": "", **message}]
        return self._render(messages, with_tools, False).rpartition(QUESTION)[2]

    def earlier_answer(self, content: str) -> str:
        """Return what stands between two questions where this is the answer to the first."""
        messages = [_USER, {"role": "assistant", "content": content}, _USER]
        rendered = self._render(messages, False, False)
        return rendered.rpartition(QUESTION)[0].rpartition(QUESTION)[2]

    def _render(
        self,
        messages: list[Any],
        with_tools: bool,
        is_prompt: bool,
        variables: Mapping[str, Any] | None = None,
    ) -> str:
        """Return the rendered text; "" if the template refuses it."""
        try:
            return render_chat_template(
                self.source,
                messages,
                add_generation_prompt=is_prompt,
                tools=_TOOLS if with_tools else None,
                **{**self._tokens, **(variables or {})},
            )
        except ChatTemplateError:
            return ""


def calls(*arguments: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return calls with these arguments, as a message has them."""
    return [
        {"id": id_, "type": "function", "function": {"name": name, "arguments": dict(values)}}
        for id_, name, values in zip(IDS, NAMES, arguments, strict=False)
    ]


def common_start(*texts: str) -> str:
    """Return what all texts begin with, without a mark that is not whole, such as `<thi`."""
    shortest = min(texts, key=len)
    n = next((i for i, c in enumerate(shortest) if any(t[i] != c for t in texts)), len(shortest))
    return _NO_MARK.sub("", shortest[:n])


def common_end(first: str, second: str) -> str:
    """Return what both texts end with, from the beginning of a mark or a space on."""
    n = 0
    while n < min(len(first), len(second)) and first[-1 - n] == second[-1 - n]:
        n += 1
    same = first[len(first) - n :]
    whole = re.search(r"[\s<\[{]", same)
    return same if n == len(first) or not whole else same[whole.start() :]


_USER = {"role": "user", "content": QUESTION}
_PARAMETERS = {
    "type": "object",
    "properties": {
        KEYS[0]: {"type": "string", "description": "d"},
        KEYS[1]: {"type": "integer", "description": "d"},
    },
    "required": [],
}
_TOOLS = [
    {
        "type": "function",
        "function": {"name": name, "description": "d", "parameters": _PARAMETERS},
    }
    for name in NAMES
]
