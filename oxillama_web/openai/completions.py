"""`/v1/completions`: texts that a model continues, or whose gap it fills."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from ..inference.prompt_logprobs import prompt_logprobs
from ..validation import Check, any_text, boolean, integer
from .answers import Json, Shape, Steps, Usage, answer, api_finish_reason
from .errors import invalid
from .logprobs import CompletionLogProbs
from .parameters import prompts, read_parameters, required
from .sampling import SAMPLING_CHECKS, read_sampler, seeds, wants_usage

if TYPE_CHECKING:
    from ..engine import InferenceEngine
    from ..inference.generation import CancelEvent
    from ..sampling import SamplerConfig
    from .conversations import Conversations

_CHECKS: dict[str, Check] = {
    **SAMPLING_CHECKS,
    "prompt": prompts,
    "echo": boolean,
    "suffix": any_text,
    "logprobs": integer(0, 20),
    "best_of": integer(1, 128),
}
_DEFAULT_MAX_TOKENS = 16  # the API's own


def create_completion(
    conversations: Conversations, request: Any, cancel: CancelEvent | None
) -> Steps:
    """Begin completions of one prompt or several; see `OpenAI.steps`."""
    engine = conversations.engine
    parameters = read_parameters(request, _CHECKS)
    n = parameters.get("n", 1)
    if parameters.get("best_of", n) != n:
        raise invalid("best_of", "all answers are returned: best_of must be as n, or left out")
    sampler = read_sampler(parameters, engine.config.sampler)
    suffix = parameters.get("suffix")
    tokens = [_tokenize(engine, prompt, suffix) for prompt in required(parameters, "prompt")]
    for each in tokens:
        conversations.check_room(each)
    usage = Usage()
    choices = [
        _Choice(conversations, parameters, each, usage, cancel).pieces(index * n + number, seeded)
        for index, each in enumerate(tokens)
        for number, seeded in enumerate(seeds(sampler, n))
    ]
    return answer(engine, parameters, _SHAPE, choices, usage, wants_usage=wants_usage(parameters))


def _tokenize(engine: InferenceEngine, prompt: str | list[int], suffix: str | None) -> list[int]:
    """Return the tokens of a prompt, with the marks of a gap if a suffix follows it."""
    if suffix is None:
        return engine.tokenize(prompt) if isinstance(prompt, str) else list(prompt)
    marks = engine.tokenizer.fill_marks
    if marks is None:
        raise invalid("suffix", "this model has no tokens for a gap; leave suffix out")
    head = engine.tokenize(prompt, add_bos=False) if isinstance(prompt, str) else list(prompt)
    tail = engine.tokenize(suffix, add_bos=False)
    return [*engine.tokenize(""), marks.prefix, *head, marks.suffix, *tail, marks.middle]


class _Choice:
    """One of the answers to a prompt."""

    def __init__(
        self,
        conversations: Conversations,
        parameters: dict[str, Any],
        tokens: list[int],
        usage: Usage,
        cancel: CancelEvent | None,
    ) -> None:
        self._conversations = conversations
        self._parameters = parameters
        self._tokens = tokens
        self._usage = usage
        self._cancel = cancel
        self._tokenizer = conversations.engine.tokenizer

    def pieces(self, index: int, sampler: SamplerConfig) -> Iterator[list[Json]]:
        """Yield what each step brings."""
        n_logprobs = self._parameters.get("logprobs")
        logprobs = None if n_logprobs is None else CompletionLogProbs(self._tokenizer)
        self._usage.prompt += len(self._tokens)
        if self._parameters.get("echo"):
            yield [_piece(index, self._tokenizer.decode(self._tokens), self._echoed(logprobs))]
        for event in self._conversations.answer(
            self._tokens,
            self._parameters.get("max_tokens", _DEFAULT_MAX_TOKENS),
            self._usage,
            sampler=sampler,
            logprobs=n_logprobs,
            cancel=self._cancel,
        ):
            if event.token is not None and logprobs is not None:
                logprobs.add(event.token, event.logprobs)
            last = api_finish_reason(event.finish_reason) if event.finish_reason else None
            if not event.text and last is None:
                yield []
                continue
            known = None if logprobs is None else logprobs.take()
            yield [_piece(index, event.text, known, last)]

    def _echoed(self, logprobs: CompletionLogProbs | None) -> Json | None:
        """Return the log-probabilities of the prompt's own tokens, if they are wanted."""
        if logprobs is None:
            return None
        model = self._conversations.engine.model
        known = prompt_logprobs(model, self._tokens, self._parameters["logprobs"])
        for token, each in zip(self._tokens, known, strict=True):
            logprobs.add(token, each)
        return logprobs.take()


def _piece(index: int, text: str, logprobs: Json | None, reason: str | None = None) -> Json:
    return {"index": index, "text": text, "logprobs": logprobs, "finish_reason": reason}


def _add(whole: Json | None, piece: Json) -> Json:
    if whole is None:
        return piece
    logprobs = piece["logprobs"]
    if logprobs is not None:
        logprobs = {name: whole["logprobs"][name] + logprobs[name] for name in logprobs}
    text = whole["text"] + piece["text"]
    return {**piece, "text": text, "logprobs": logprobs}


_SHAPE = Shape("cmpl", "text_completion", "text_completion", _add)
