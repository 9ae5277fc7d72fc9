"""The events of a response's stream, from the chunks of the chat that it is.

response.output_item.added          one item after the other: a thought, a text, a call
  response.content_part.added         of a thought or a text
  response.….delta                    many
  response.….done
  response.content_part.done
response.output_item.done
"""

from __future__ import annotations

import uuid
from collections.abc import Iterator, Mapping
from types import MappingProxyType
from typing import Any

from .answers import Json


class OutputEvents:
    """Makes the events of a response's items, and gathers the items.

    Attributes:
        items: those so far, as they are in the whole response.
    """

    def __init__(self) -> None:
        self.items: list[Json] = []
        self._open: _TextItem | _CallItem | None = None
        self._n_calls = 0

    def push(self, piece: Json) -> list[Json]:
        """Return the events of a piece of a chat's choice; see `Shape` of answers.py."""
        events: list[Json] = []
        delta = piece["delta"]
        if text := delta.get("reasoning_content"):
            events += self._text("reasoning", text, None)
        if text := delta.get("content"):
            logprobs = piece["logprobs"]
            events += self._text("message", text, logprobs and logprobs["content"])
        for call in delta.get("tool_calls", ()):
            if "id" in call:
                events += self.finish("completed")
                name = call["function"]["name"]
                events += self._begin(_CallItem(len(self.items), name, call["id"]))
            if arguments := call["function"]["arguments"]:
                assert isinstance(self._open, _CallItem)
                events += self._open.push(arguments)
        return events

    def finish(self, status: str) -> list[Json]:
        """Return the events that end the item under way; its status is "incomplete" if cut off."""
        item, self._open = self._open, None
        return [] if item is None else list(item.end(status))

    def complete(self, status: str) -> list[Json]:
        """Return the events that end a response; one without any item has an empty message."""
        begun = [] if self.items else list(self._begin(_Message(0)))
        return begun + self.finish(status)

    def _text(self, kind: str, text: str, logprobs: list[Json] | None) -> list[Json]:
        events = []
        if not isinstance(self._open, _TextItem) or self._open.item["type"] != kind:
            events += self.finish("completed")
            item_type = _Thought if kind == "reasoning" else _Message
            events += self._begin(item_type(len(self.items)))
        assert isinstance(self._open, _TextItem)
        return events + self._open.push(text, logprobs)

    def _begin(self, item: _TextItem | _CallItem) -> Iterator[Json]:
        self._open = item
        self.items.append(item.item)
        return item.begin()


class _TextItem:
    """A text of the output: a thought or a message, which has one part.

    Attributes:
        item: the item so far.
    """

    delta = done = ""
    # what an item of this kind has besides its content
    fields: Mapping[str, Any]
    prefix: str

    def __init__(self, index: int) -> None:
        id_ = f"{self.prefix}_{uuid.uuid4().hex}"
        self.item: Json = {"id": id_, "status": "in_progress", **self.fields, "content": []}
        self._where = {"item_id": id_, "output_index": index, "content_index": 0}
        self._part = self.new_part()

    def new_part(self) -> Json:
        raise NotImplementedError

    def begin(self) -> Iterator[Json]:
        yield _item_event("added", self.item, self._where)
        yield {"type": "response.content_part.added", **self._where, "part": dict(self._part)}

    def push(self, text: str, logprobs: list[Json] | None) -> list[Json]:
        self._part["text"] += text
        return [{"type": self.delta, **self._where, "delta": text, **self.known(logprobs)}]

    def known(self, logprobs: list[Json] | None) -> Json:
        """Return what an event says of log-probabilities."""
        return {}

    def end(self, status: str) -> Iterator[Json]:
        self.item |= {"status": status, "content": [self._part]}
        text = self._part["text"]
        known = self.known(self._part.get("logprobs"))
        yield {"type": self.done, **self._where, "text": text, **known}
        yield {"type": "response.content_part.done", **self._where, "part": self._part}
        yield _item_event("done", self.item, self._where)


class _Thought(_TextItem):
    delta, done = "response.reasoning_text.delta", "response.reasoning_text.done"
    fields = MappingProxyType({"type": "reasoning", "summary": []})
    prefix = "rs"

    def new_part(self) -> Json:
        return {"type": "reasoning_text", "text": ""}


class _Message(_TextItem):
    delta, done = "response.output_text.delta", "response.output_text.done"
    fields = MappingProxyType({"type": "message", "role": "assistant"})
    prefix = "msg"

    def new_part(self) -> Json:
        return {"type": "output_text", "text": "", "annotations": [], "logprobs": []}

    def push(self, text: str, logprobs: list[Json] | None) -> list[Json]:
        self._part["logprobs"] += logprobs or ()
        return super().push(text, logprobs)

    def known(self, logprobs: list[Json] | None) -> Json:
        return {"logprobs": logprobs or []}


class _CallItem:
    """A call of a function."""

    def __init__(self, index: int, name: str, call_id: str) -> None:
        self.item: Json = {
            "id": f"fc_{uuid.uuid4().hex}",
            "type": "function_call",
            "status": "in_progress",
            "call_id": call_id,
            "name": name,
            "arguments": "",
        }
        self._where: Json = {"item_id": self.item["id"], "output_index": index}

    def begin(self) -> Iterator[Json]:
        yield _item_event("added", self.item, self._where)

    def push(self, arguments: str) -> list[Json]:
        self.item["arguments"] += arguments
        kind = "response.function_call_arguments.delta"
        return [{"type": kind, **self._where, "delta": arguments}]

    def end(self, status: str) -> Iterator[Json]:
        self.item["status"] = status
        kind = "response.function_call_arguments.done"
        told: Any = {"name": self.item["name"], "arguments": self.item["arguments"]}
        yield {"type": kind, **self._where, **told}
        yield _item_event("done", self.item, self._where)


def _item_event(what: str, item: Json, where: Json) -> Json:
    kind = f"response.output_item.{what}"
    return {"type": kind, "output_index": where["output_index"], "item": dict(item)}
