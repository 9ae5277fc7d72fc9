"""`/v1/chat/completions`: answers to chats, with thoughts and tool calls apart from the text."""

from __future__ import annotations

import uuid
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from ..chat.answer_parser import CallArguments, CallStart, Content, Reasoning
from ..validation import Check, any_text, boolean, choice, integer
from .answers import Json, Shape, Steps, Usage, answer, api_finish_reason
from .errors import invalid
from .logprobs import chat_logprob
from .messages import read_messages
from .parameters import a_list, an_object, anything, only, read_parameters, refused, required
from .response_format import read_response_format
from .sampling import SAMPLING_CHECKS, read_sampler, seeds, wants_usage
from .tools import ToolUse, read_tools

if TYPE_CHECKING:
    from ..chat.answer_parser import AnswerParser, Part
    from ..inference.generation import CancelEvent, GenerationEvent
    from ..sampling import SamplerConfig
    from .conversations import Conversations

_CHECKS: dict[str, Check] = {
    **SAMPLING_CHECKS,
    "messages": a_list,
    "max_completion_tokens": integer(0),
    "logprobs": boolean,
    "top_logprobs": integer(0, 20),
    "tools": a_list,
    "tool_choice": anything,
    "parallel_tool_calls": boolean,
    "response_format": an_object,
    "reasoning_effort": choice("none", "minimal", "low", "medium", "high", "xhigh", "max"),
    "chat_template_kwargs": an_object,
    "modalities": only(["text"]),
    # they change no answer
    "metadata": an_object,
    "prediction": an_object,
    "prompt_cache_key": any_text,
    "prompt_cache_options": an_object,
    "prompt_cache_retention": any_text,
    "safety_identifier": any_text,
    "service_tier": only("auto", "default"),
    "store": only(False),
    "verbosity": only("medium"),
    "audio": refused("this model writes text"),
    "function_call": refused("tool_choice takes its place"),
    "functions": refused("tools takes its place"),
    "moderation": refused("there is no moderation"),
    "web_search_options": refused("nothing here reaches the network"),
}


def create_chat_completion(
    conversations: Conversations, request: Any, cancel: CancelEvent | None
) -> Steps:
    """Begin to answer a chat; see `OpenAI.steps`."""
    engine = conversations.engine
    parameters = read_parameters(request, _CHECKS)
    template = engine.model.chat_template
    messages = read_messages(
        required(parameters, "messages"), knows_developer="developer" in template
    )
    tools = read_tools(parameters)
    variables = _template_variables(parameters)
    tokens = engine.tokenize_chat(messages, tools.offered or None, **variables)
    conversations.check_room(tokens)
    schema = read_response_format(parameters.get("response_format"))
    constraint = {} if schema is None else {"json_schema": schema}
    sampler = read_sampler(parameters, engine.config.sampler, **constraint)
    if "top_logprobs" in parameters and not parameters.get("logprobs"):
        raise invalid("top_logprobs", "top_logprobs needs logprobs to be true")
    usage = Usage()
    choices = [
        _Choice(conversations, parameters, tools, variables, usage).pieces(
            index, tokens, seeded, cancel
        )
        for index, seeded in enumerate(seeds(sampler, parameters.get("n", 1)))
    ]
    return answer(engine, parameters, _SHAPE, choices, usage, wants_usage=wants_usage(parameters))


def _template_variables(parameters: Mapping[str, Any]) -> Json:
    """Return the variables of the template that a request sets."""
    effort = parameters.get("reasoning_effort")
    chosen: Json = {}
    if effort is not None:
        chosen = {"reasoning_effort": effort, "enable_thinking": effort != "none"}
    return {**chosen, **parameters.get("chat_template_kwargs", {})}


class _Choice:
    """One of the answers to a chat."""

    def __init__(
        self,
        conversations: Conversations,
        parameters: Json,
        tools: ToolUse,
        variables: Json,
        usage: Usage,
    ) -> None:
        self._conversations = conversations
        self._tools = tools
        self._variables = variables
        self._usage = usage
        self._tokenizer = conversations.engine.tokenizer
        max_tokens = parameters.get("max_completion_tokens", parameters.get("max_tokens"))
        self._max_tokens: int | None = max_tokens
        self._n_logprobs = parameters.get("top_logprobs", 0) if parameters.get("logprobs") else None
        self._n_calls = 0

    def pieces(
        self, index: int, tokens: list[int], sampler: SamplerConfig, cancel: CancelEvent | None
    ) -> Iterator[list[Json]]:
        """Yield what each step brings."""
        self._usage.prompt += len(tokens)
        yield [_piece(index, {"role": "assistant", "content": ""})]
        model = self._conversations.engine.model
        parser = self._tools.parser(model, self._variables)
        logprobs: list[Json] = []
        for event in self._conversations.answer(
            tokens,
            self._max_tokens,
            self._usage,
            sampler=sampler,
            logprobs=self._n_logprobs,
            cancel=cancel,
            visible_tokens=model.answer_format.visible_tokens(
                self._tokenizer, with_tools=bool(self._tools.offered)
            ),
            constraint=self._tools.constraint(model, sampler, self._variables),
        ):
            self._count(event, parser, logprobs)
            parts = parser.push(event.text)
            if event.finish_reason:
                parts += parser.finish()
            deltas = [delta for part in parts if (delta := self._delta(part)) is not None]
            step = [_piece(index, delta) for delta in deltas]
            is_over = self._n_calls > self._tools.max_calls
            if step and self._n_logprobs is not None:
                step[0]["logprobs"], logprobs = {"content": logprobs, "refusal": None}, []
            if event.finish_reason or is_over:
                step.append(_piece(index, {}, self._finish_reason(event, is_over)))
            yield step
            if is_over:
                return

    def _count(self, event: GenerationEvent, parser: AnswerParser, logprobs: list[Json]) -> None:
        """Count a token, and keep its log-probability for the next piece."""
        if event.token is None:
            return
        self._usage.reasoning += parser.is_thinking
        if event.logprobs is not None:
            logprobs.append(chat_logprob(self._tokenizer, event.token, event.logprobs))

    def _delta(self, part: Part) -> Json | None:
        """Return what a part adds to the message."""
        match part:
            case Content(text):
                return {"content": text}
            case Reasoning(text):
                return {"reasoning_content": text}
            case CallStart(name):
                self._n_calls += 1
                if self._n_calls > self._tools.max_calls:
                    return None
                call = {
                    "id": f"call_{uuid.uuid4().hex[:24]}",
                    "type": "function",
                    "function": {"name": name, "arguments": ""},
                }
            case CallArguments(text):
                if self._n_calls > self._tools.max_calls:
                    return None
                call = {"function": {"arguments": text}}
        return {"tool_calls": [{"index": self._n_calls - 1, **call}]}

    def _finish_reason(self, event: GenerationEvent, is_over: bool) -> str:
        reason = api_finish_reason(event.finish_reason)
        return "tool_calls" if self._n_calls and (is_over or reason == "stop") else reason


def _piece(index: int, delta: Json, reason: str | None = None) -> Json:
    return {"index": index, "delta": delta, "logprobs": None, "finish_reason": reason}


def _add(whole: Json | None, piece: Json) -> Json:
    """Add a piece of a choice to the message that it belongs to."""
    if whole is None:
        message: Json = {"role": "assistant", "content": None, "refusal": None}
        whole = {"index": piece["index"], "message": message, "logprobs": None}
    message, delta = whole["message"], piece["delta"]
    for key in ("content", "reasoning_content"):
        if delta.get(key):
            message[key] = (message.get(key) or "") + delta[key]
    for call in delta.get("tool_calls", ()):
        _add_call(message.setdefault("tool_calls", []), call)
    if piece["logprobs"] is not None:
        known = whole["logprobs"] or {"content": [], "refusal": None}
        content = known["content"] + piece["logprobs"]["content"]
        whole["logprobs"] = {**known, "content": content}
    whole["finish_reason"] = piece["finish_reason"]
    if piece["finish_reason"] and message["content"] is None and "tool_calls" not in message:
        message["content"] = ""
    return whole


def _add_call(calls: list[Json], delta: Json) -> None:
    function = delta["function"]
    if "id" in delta:
        calls.append({"id": delta["id"], "type": "function", "function": dict(function)})
    else:
        calls[delta["index"]]["function"]["arguments"] += function["arguments"]


_SHAPE = Shape("chatcmpl", "chat.completion", "chat.completion.chunk", _add)
