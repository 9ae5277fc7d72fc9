"""The steps of an answer, and the loop that makes them."""

from __future__ import annotations

from collections.abc import Generator, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, Protocol, TypedDict

from ..errors import InvalidRequestError
from ..sampling import Sampler
from .stop_strings import StopStrings

if TYPE_CHECKING:
    from ..backends.logits import LogitsOps
    from ..config import EngineConfig
    from ..sampling import SamplerConfig
    from ..tokenizer import StreamDecoder
    from .conversation import Conversation
    from .metrics import Request
    from .speculation import Drafter

FinishReason = Literal["stop", "length", "context", "cancelled"]


class CancelEvent(Protocol):
    """What asks an answer to stop, as a threading.Event does."""

    def is_set(self) -> bool:
        """Whether to stop."""


class GenerationOptions(TypedDict, total=False):
    """Keyword arguments of everything that generates; all may be left out.

    Keys:
        sampler: overrides the conversation's default.
        stop: strings that end the answer, besides the sampler's own. The answer ends in front of
            the first one; what could be the beginning of one is held back until it is decided.
        cancel: looked at before each chunk of the prompt and each token; once set, the answer
            ends. The cache then holds what was computed, and the conversation can go on.
        logprobs: None, or how many of the most probable tokens each event tells, 0 to 1000; with
            0 only the chosen token's log-probability.
        speculation: guesses tokens ahead: the same answer, sooner. See speculation.py.
    """

    sampler: SamplerConfig | None
    stop: Sequence[str]
    cancel: CancelEvent | None
    logprobs: int | None
    speculation: Drafter | None


class ChatOptions(GenerationOptions, total=False):
    """What `chat` takes besides.

    Keys:
        tools: descriptions of functions, as JSON Schema in OpenAI's form, for models that call
            tools; the calls are part of the answer's text, as the model writes them.
        variables: more of the template, such as {"enable_thinking": False}.
    """

    tools: Sequence[Mapping[str, Any]] | None
    variables: Mapping[str, Any]


class LogProbs(NamedTuple):
    """Log-probabilities, in nats, before penalties, filters and temperature.

    Attributes:
        chosen: of the token that was chosen.
        top: the most probable tokens with theirs, descending.
    """

    chosen: float
    top: tuple[tuple[int, float], ...]


class GenerationEvent:
    """One step of an answer.

    Attributes:
        phase: "prefill" while the prompt is read, then "decode".
        text: what this step adds to the answer; may be empty.
        token: the token that was chosen, None in prefill and in an answer's last event.
        n_done: prompt tokens read so far (prefill), or tokens generated so far (decode).
        n_total: tokens of the prompt that are not in the cache yet (prefill), or the most tokens
            that may be generated (decode).
        finish_reason: None, or in the last event "stop" (an end-of-generation token or a stop
            string), "length" (max_tokens), "context" (the cache is full), "cancelled".
        logprobs: the chosen token's, where asked for.
    """

    __slots__ = ("finish_reason", "logprobs", "n_done", "n_total", "phase", "text", "token")

    def __init__(
        self,
        phase: Literal["prefill", "decode"],
        text: str,
        token: int | None,
        n_done: int,
        n_total: int,
        finish_reason: FinishReason | None = None,
        logprobs: LogProbs | None = None,
    ) -> None:
        self.phase = phase
        self.text = text
        self.token = token
        self.n_done = n_done
        self.n_total = n_total
        self.finish_reason = finish_reason
        self.logprobs = logprobs


class Generation:
    """One answer; `events` makes it. The conversation is usable whenever that loop is left.

    Args:
        prompt: at least one token, which the cache does not hold yet.
        decoder: turns the answer's tokens into text.
        n_cached: tokens of the prompt that the cache holds, for the metrics.
        defaults: has the sampler and the speculation where none is given.
    """

    def __init__(
        self,
        conversation: Conversation,
        prompt: list[int],
        max_tokens: int,
        decoder: StreamDecoder,
        n_cached: int,
        defaults: EngineConfig,
        *,
        sampler: SamplerConfig | None = None,
        stop: Sequence[str] = (),
        cancel: CancelEvent | None = None,
        logprobs: int | None = None,
        speculation: Drafter | None = None,
    ) -> None:
        sampler = sampler or defaults.sampler
        speculation = speculation or defaults.speculation
        if max_tokens < 0:
            raise InvalidRequestError(f"max_tokens is {max_tokens}; it must be 0 or more")
        if logprobs is not None and not 0 <= logprobs <= 1000:
            raise InvalidRequestError(f"logprobs is {logprobs}; it must be 0 to 1000")
        if isinstance(stop, str) or "" in stop:
            raise InvalidRequestError("stop must be a list of texts of at least one letter")
        model = conversation.model
        if speculation is not None:
            speculation.check(model)
        self._conversation = conversation
        self._prompt = prompt
        self._max_tokens = max_tokens
        self._decoder = decoder
        self._n_cached = n_cached
        self._sampler = Sampler(
            sampler, model.logits_ops, model.token_text, model.constraint(sampler)
        )
        self._stop = StopStrings((*sampler.stop, *stop))
        self._cancel = cancel
        self._n_logprobs = logprobs
        self._drafter = speculation
        self._n_generated = 0

    def events(self) -> Iterator[GenerationEvent]:
        """Reads the prompt and writes the answer."""
        metrics = self._conversation.model.metrics
        with metrics.request(self._n_cached) as request:
            yield from self._read(request)
            finish_reason: FinishReason = "cancelled"
            if not self._is_cancelled:
                finish_reason = yield from self._write(request)
            request.cancelled = finish_reason == "cancelled"
            metrics.memory(self._conversation.model.executor.memory_bytes)
            rest = self._stop.push(self._decoder.finish()) + self._stop.finish()
            yield self._event("decode", rest, None, self._n_generated, finish_reason)

    @property
    def _is_cancelled(self) -> bool:
        return self._cancel is not None and self._cancel.is_set()

    def _read(self, request: Request) -> Iterator[GenerationEvent]:
        """The prompt, chunk by chunk."""
        conversation, n_prompt, n_before = self._conversation, len(self._prompt), 0
        conversation.pending = []
        chunks = conversation.read(self._prompt)
        while n_before < n_prompt and not self._is_cancelled:
            request.resume()
            n_read = next(chunks)
            request.spent("prefill", n_read - n_before)
            n_before = n_read
            yield self._event("prefill", "", None, n_read)

    def _write(self, request: Request) -> Generator[GenerationEvent, None, FinishReason]:
        """The answer, token by token; returns why it ended."""
        conversation = self._conversation
        end_tokens = conversation.model.tokenizer.eog_ids
        while self._n_generated < self._max_tokens:
            request.resume()
            if conversation.pending:
                if not conversation.make_room():
                    return "context"
                conversation.advance(conversation.pending[0], self._drafter, self._n_left - 1)
                conversation.pending = []
            token, logprobs = self._choose()
            conversation.pending = [token]
            if token in end_tokens:
                request.spent("decode", 0)
                return "stop"
            request.spent("decode", 1)
            self._n_generated += 1
            text = self._stop.push(self._decoder.push(token))
            yield self._event("decode", text, token, self._n_generated, None, logprobs)
            if self._stop.found:
                return "stop"
            if self._is_cancelled:
                return "cancelled"
        return "length"

    @property
    def _n_left(self) -> int:
        return self._max_tokens - self._n_generated

    def _choose(self) -> tuple[int, LogProbs | None]:
        conversation = self._conversation
        logits = conversation.logits
        if self._n_logprobs is None:
            return self._sampler.sample(logits, conversation.tokens), None
        # sampling changes logits
        before = memoryview(bytearray(logits.cast("B"))).cast("f")
        token = self._sampler.sample(logits, conversation.tokens)
        return token, _log_probs(before, token, self._n_logprobs, conversation.model.logits_ops)

    def _event(
        self,
        phase: Literal["prefill", "decode"],
        text: str,
        token: int | None,
        n_done: int,
        finish_reason: FinishReason | None = None,
        logprobs: LogProbs | None = None,
    ) -> GenerationEvent:
        n_total = len(self._prompt) if phase == "prefill" else self._max_tokens
        return GenerationEvent(phase, text, token, n_done, n_total, finish_reason, logprobs)


def texts(events: Iterator[GenerationEvent]) -> Iterator[str]:
    """The answer's pieces of text."""
    for event in events:
        if event.text:
            yield event.text


def _log_probs(
    logits: memoryview[float], token: int, n_top: int, logits_ops: LogitsOps
) -> LogProbs:
    total = logits_ops.log_sum_exp(logits, 1.0)
    top: tuple[tuple[int, float], ...] = ()
    if n_top:
        ids, values = logits_ops.top_k(logits, n_top)
        top = tuple((id, value - total) for id, value in zip(ids, values, strict=True))
    return LogProbs(logits[token] - total, top)
