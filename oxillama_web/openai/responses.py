"""`/v1/responses`: a chat, in the shapes of OpenAI's newer API. Nothing is stored."""

from __future__ import annotations

import time
import uuid
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from ..errors import OxiLlamaError
from ..validation import Check, any_text, boolean, instance, integer
from .answers import Json, Steps
from .chat import create_chat_completion
from .errors import APIError, invalid, to_api_error
from .parameters import a_list, an_object, anything, only, read_parameters, refused, required
from .response_events import OutputEvents
from .response_input import chat_messages, chat_response_format, chat_tool_choice, chat_tools
from .sampling import SAMPLING_CHECKS

if TYPE_CHECKING:
    from ..inference.generation import CancelEvent
    from .conversations import Conversations

_LOGPROBS = "message.output_text.logprobs"
# What goes to the chat as it is.
_PASSED_ON: dict[str, Check] = {
    **{name: SAMPLING_CHECKS[name] for name in SAMPLING_CHECKS if name not in ("n", "max_tokens")},
    "chat_template_kwargs": an_object,
    "parallel_tool_calls": boolean,
    "prompt_cache_key": any_text,
    "prompt_cache_options": an_object,
    "prompt_cache_retention": any_text,
    "safety_identifier": any_text,
    "service_tier": only("auto", "default"),
    "store": only(False),
}
_CHECKS: dict[str, Check] = {
    **_PASSED_ON,
    "input": anything,
    "instructions": any_text,
    "max_output_tokens": integer(1),
    "include": a_list,
    "metadata": an_object,
    "reasoning": an_object,
    "text": an_object,
    "tools": a_list,
    "tool_choice": instance((str, Mapping), "a word or an object"),
    "top_logprobs": integer(0, 20),
    "truncation": only("disabled"),
    "background": only(False),
    "access_programs": refused("this is no hosted model"),
    "background_options": refused("nothing runs in the background"),
    "context_management": refused("send the items that the model shall see"),
    "conversation": refused("nothing is stored; send the items of the conversation"),
    "image": refused("this model reads and writes text"),
    "max_tool_calls": refused("there are no tools but the caller's functions"),
    "moderation": refused("there is no moderation"),
    "previous_response_id": refused("nothing is stored; send the items of the conversation"),
    "prompt": refused("there are no stored prompts"),
}
# Values of `reasoning` that change nothing; its effort goes to the chat template. A summary may be
# left to the model, and here the whole thought is there.
_REASONING: dict[str, Check] = {
    "effort": anything,
    "summary": only("auto"),
    "generate_summary": only("auto"),
    "context": only("auto"),
    "mode": only("standard"),
}
# Parameters of the chat, as the caller knows them.
_NAMES = {
    "response_format": "text.format",
    "max_completion_tokens": "max_output_tokens",
    "reasoning_effort": "reasoning.effort",
    "messages": "input",
}


def create_response(
    conversations: Conversations, request: Any, cancel: CancelEvent | None
) -> Steps:
    """Begin a response; see `OpenAI.steps`."""
    parameters = read_parameters(request, _CHECKS)
    try:
        chat = create_chat_completion(conversations, _chat_request(parameters), cancel)
    except APIError as error:
        raise _renamed(error) from error
    header = _header(parameters, conversations)
    return _respond(chat, header, streams=bool(parameters.get("stream")))


def _chat_request(parameters: Mapping[str, Any]) -> Json:
    """Return the request of the chat."""
    reasoning = read_parameters(parameters.get("reasoning", {}), _REASONING)
    include = parameters.get("include", ())
    # thoughts come as text, so that nothing has to be encrypted for the next request
    unknown = [name for name in include if name not in (_LOGPROBS, "reasoning.encrypted_content")]
    if unknown:
        raise invalid("include", f"include has {unknown[0]!r:.80}, of which there is nothing here")
    chat: Json = {name: parameters[name] for name in _PASSED_ON if name in parameters}
    chat["messages"] = chat_messages(required(parameters, "input"), parameters.get("instructions"))
    chat["max_completion_tokens"] = parameters.get("max_output_tokens")
    chat["response_format"] = chat_response_format(parameters.get("text", {}))
    chat["reasoning_effort"] = reasoning.get("effort")
    chat["tools"] = chat_tools(parameters.get("tools", ()))
    chat["tool_choice"] = chat_tool_choice(parameters.get("tool_choice"))
    if _LOGPROBS in include or "top_logprobs" in parameters:
        chat |= {"logprobs": True, "top_logprobs": parameters.get("top_logprobs", 0)}
    if "include_usage" in (parameters.get("stream_options") or ()):
        raise invalid("stream_options", "the last event of a response always has its usage")
    return chat


def _renamed(error: APIError) -> APIError:
    """Return an error of the chat with the parameter that the caller has sent."""
    name = _NAMES.get(error.param or "", error.param)
    message = str(error).replace(error.param, name) if error.param and name else str(error)
    return APIError(error.status, message, param=name, code=error.code)


def _header(parameters: Mapping[str, Any], conversations: Conversations) -> Json:
    """Return what a response says of its request."""
    engine = conversations.engine
    sampler = engine.config.sampler
    reasoning, text = parameters.get("reasoning", {}), parameters.get("text", {})
    return {
        "id": f"resp_{uuid.uuid4().hex}",
        "object": "response",
        "created_at": int(time.time()),
        "status": "in_progress",
        "background": False,
        "error": None,
        "incomplete_details": None,
        "instructions": parameters.get("instructions"),
        "max_output_tokens": parameters.get("max_output_tokens"),
        "metadata": parameters.get("metadata", {}),
        "model": parameters.get("model", engine.model.config.name),
        "output": [],
        "parallel_tool_calls": parameters.get("parallel_tool_calls", True),
        "previous_response_id": None,
        "reasoning": {"effort": reasoning.get("effort"), "summary": None},
        "service_tier": "default",
        "store": False,
        "temperature": parameters.get("temperature", sampler.temperature),
        "text": {"format": text.get("format") or {"type": "text"}},
        "tool_choice": parameters.get("tool_choice", "auto"),
        "tools": [_shown_tool(tool) for tool in parameters.get("tools", ())],
        "top_logprobs": parameters.get("top_logprobs", 0),
        "top_p": parameters.get("top_p", sampler.top_p),
        "truncation": "disabled",
        "usage": None,
    }


def _shown_tool(tool: Mapping[str, Any]) -> Json:
    return {"parameters": None, "strict": None, **tool}


def _respond(chat: Steps, header: Json, *, streams: bool) -> Steps:
    """Yield a response's events, and return it whole."""
    output = OutputEvents()
    numbered = _Numbered()
    reason = None
    yield numbered([_response_event("created", header), _response_event("in_progress", header)])
    try:
        while True:
            events: list[Json] = []
            for piece in (piece for chunk in next(chat) for piece in chunk["choices"]):
                events += output.push(piece)
                reason = piece["finish_reason"] or reason
            yield numbered(events)
    except StopIteration as end:
        usage = end.value["usage"]
    except OxiLlamaError as error:
        if not streams:
            raise
        failed = {**header, "status": "failed", "error": _shown_error(error)}
        ends = output.finish("incomplete")
        failed["output"] = output.items
        yield numbered([*ends, _response_event("failed", failed)])
        return failed
    finally:
        chat.close()
    status = "incomplete" if reason == "length" else "completed"
    whole = {**header, "status": status, "usage": _shown_usage(usage)}
    if status == "incomplete":
        whole["incomplete_details"] = {"reason": "max_output_tokens"}
    else:
        whole["completed_at"] = int(time.time())
    ends = output.complete(status)
    whole["output"] = output.items
    yield numbered([*ends, _response_event(status, whole)])
    return whole


class _Numbered:
    """Gives the events of a stream their numbers."""

    def __init__(self) -> None:
        self._n = 0

    def __call__(self, events: list[Json]) -> list[Json]:
        numbered = [{**event, "sequence_number": self._n + i} for i, event in enumerate(events)]
        self._n += len(events)
        return numbered


def _response_event(what: str, response: Json) -> Json:
    return {"type": f"response.{what}", "response": response}


def _shown_error(error: OxiLlamaError) -> Json:
    return {"code": "server_error", "message": str(to_api_error(error))}


def _shown_usage(usage: Json) -> Json:
    cached = usage["prompt_tokens_details"]["cached_tokens"]
    return {
        "input_tokens": usage["prompt_tokens"],
        "input_tokens_details": {"cached_tokens": cached, "cache_write_tokens": 0},
        "output_tokens": usage["completion_tokens"],
        "output_tokens_details": usage["completion_tokens_details"],
        "total_tokens": usage["total_tokens"],
    }
