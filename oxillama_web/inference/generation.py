"""An answer: the options of a request, the events that tell of its steps, and the loop."""

from __future__ import annotations

from collections.abc import Collection, Generator, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, Protocol, TypedDict

from ..errors import InvalidRequestError
from ..sampling import Sampler, SamplerConfig
from ..validation import MAX_INT64, having, instance, integer, nonempty_texts, optional, token_set
from .answer_under_way import TakeBack
from .context_shift import make_room_for_token
from .given_tokens import GivenTokens
from .speculation import Drafter
from .stop_strings import StopStrings

if TYPE_CHECKING:
    from ..backends.logits import LogitsOps
    from ..config import EngineConfig
    from ..sampling.sampler import Constraint
    from .metrics import Request
    from .sequence import TokenSequence

_MAX_TOKENS = integer(0, MAX_INT64)
_LOGPROBS = optional(integer(0, 1000))
_SAMPLER = optional(instance(SamplerConfig, "a SamplerConfig"))
_CANCEL = optional(having("is_set", "an object with is_set(), such as a threading.Event"))
_CONSTRAINT = optional(having("restrict", "a Constraint"))
_DRAFTER = optional(instance(Drafter, "a Drafter, such as PromptLookup()"))

FinishReason = Literal["stop", "length", "context", "cancelled"]


class CancelEvent(Protocol):
    """Asks an answer to stop. A threading.Event does."""

    def is_set(self) -> bool:
        """Return whether to stop."""


class GenerationOptions(TypedDict, total=False):
    """Keyword arguments of every method that generates; all are optional.

    Keys:
        sampler: overrides the engine's default.
        stop: strings that end the answer, besides the sampler's own. The answer ends before the
            first one. Text that could be the beginning of one is held back until more text
            decides.
        cancel: checked before each chunk of the prompt and before each token; once it is set, the
            answer ends. The cache then holds what was computed, and the conversation can go on.
        logprobs: how many of the most probable tokens each event lists, 0 to 1000, besides the
            chosen token's log-probability; None for no log-probabilities.
        speculation: guesses tokens ahead: the same answer, sooner. See speculation.py.
        visible_tokens: control tokens whose text is part of the answer's, such as the marks of tool
            calls; see `LoadedModel.answer_format`.
        constraint: excludes tokens, as a grammar does; it takes the place of the sampler's grammar
            or schema.
    """

    sampler: SamplerConfig | None
    stop: Sequence[str]
    cancel: CancelEvent | None
    logprobs: int | None
    speculation: Drafter | None
    visible_tokens: Collection[int]
    constraint: Constraint | None


def check_names(options: Mapping[str, object]) -> None:
    """Refuse a keyword that is no option of an answer."""
    known = GenerationOptions.__annotations__
    for name in options:
        if name not in known:
            raise InvalidRequestError(
                f"{name} is no option of an answer; these are: {', '.join(known)}. How tokens are "
                f"chosen stands in sampler=SamplerConfig(...)"
            )


class ChatOptions(GenerationOptions, total=False):
    """Further keyword arguments of `chat` and `chat_events`.

    Keys:
        tools: descriptions of functions, as JSON Schema in OpenAI's form, for models that call
            tools. The calls are part of the answer's text, as the model writes them.
        variables: further variables of the template, such as {"enable_thinking": False}.
    """

    tools: Sequence[Mapping[str, Any]] | None
    variables: Mapping[str, Any]


class LogProbs(NamedTuple):
    """Log-probabilities, in nats, before penalties, filters and temperature.

    Attributes:
        chosen: that of the chosen token.
        top: the most probable tokens and theirs, descending.
    """

    chosen: float
    top: tuple[tuple[int, float], ...]


class GenerationEvent:
    """One step of an answer.

    Attributes:
        phase: "prefill" while the prompt is computed, then "decode".
        text: what this step adds to the answer; may be empty.
        token: the token that was chosen; None in prefill and in an answer's last event.
        n_done: prompt tokens computed so far (prefill), or tokens generated so far (decode).
        n_total: tokens of the prompt that were not in the cache (prefill), or the largest number
            of tokens that may be generated (decode).
        finish_reason: None, or in the last event "stop" (an end-of-generation token or a stop
            string), "length" (max_tokens), "context" (the cache is full), or "cancelled".
        logprobs: the chosen token's, if they were asked for.
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

    def __repr__(self) -> str:
        values = [
            f"{name}={value!r}"
            for name in ("text", "token", "n_done", "n_total", "finish_reason", "logprobs")
            if (value := getattr(self, name)) is not None
        ]
        return f"GenerationEvent({self.phase!r}, {', '.join(values)})"


class Generation:
    """One answer.

    The model's lock is held for each step, but never while the caller has the loop over `events`.
    However that is left, the sequence then holds what the caller was given: tokens that were held
    back for a stop string, or that a step chose before it failed, are taken back.

    Args:
        prompt: at least one token, which the cache does not hold yet; a pending one comes first.
        max_tokens: how many tokens may be generated.
        defaults: has the sampler and the speculation, unless the options have.
        n_cached: tokens of the prompt that the cache holds, for the metrics.
        continues_text: whether the answer's text continues an earlier one; else its first token
            begins a text.
        sampler, stop, cancel, logprobs, speculation, visible_tokens, constraint: see
            GenerationOptions.

    Raises:
        InvalidRequestError: an option is wrong.
    """

    def __init__(
        self,
        sequence: TokenSequence,
        prompt: list[int],
        max_tokens: int,
        defaults: EngineConfig,
        *,
        n_cached: int,
        continues_text: bool,
        sampler: SamplerConfig | None = None,
        stop: Sequence[str] = (),
        cancel: CancelEvent | None = None,
        logprobs: int | None = None,
        speculation: Drafter | None = None,
        visible_tokens: Collection[int] = (),
        constraint: Constraint | None = None,
    ) -> None:
        sampler = _SAMPLER("sampler", sampler) or defaults.sampler
        speculation = _DRAFTER("speculation", speculation) or defaults.speculation
        max_tokens = _MAX_TOKENS("max_tokens", max_tokens)
        stop = nonempty_texts("stop", stop)
        cancel = _CANCEL("cancel", cancel)
        logprobs = _LOGPROBS("logprobs", logprobs)
        visible_tokens = token_set("visible_tokens", visible_tokens)
        constraint = _CONSTRAINT("constraint", constraint)
        model = sequence.model
        if speculation is not None:
            speculation.check(model)
        self._sequence = sequence
        self._prompt = prompt
        self._max_tokens = max_tokens
        self._context_full = defaults.context_full
        self._n_cached = n_cached
        self._decoder = model.tokenizer.stream_decoder(
            continues_text=continues_text, visible=visible_tokens
        )
        constraint = constraint or model.constraint(sampler)
        self._sampler = Sampler(sampler, model.logits_ops, model.token_text, constraint)
        self._stop = StopStrings((*sampler.stop, *stop))
        self._cancel = cancel
        self._n_logprobs = logprobs
        self._drafter = speculation
        self._n_generated = 0
        self._given = GivenTokens()
        # where the answer begins, counted from the first token that the sequence ever had
        self._start: int | None = None
        self._has_ended = False
        self._version = sequence.claim(self)

    def events(self) -> Generator[GenerationEvent, None, None]:
        """Prefill the prompt and decode the answer, step by step."""
        model = self._sequence.model
        with model.metrics.request(self._n_cached) as request:
            try:
                yield from self._prefill(request)
                finish_reason: FinishReason = "cancelled"
                if not self._is_cancelled:
                    finish_reason = yield from self._decode(request)
                request.cancelled = finish_reason == "cancelled"
                model.metrics.memory(model.executor.memory_bytes)
                rest = self._stop.push(self._decoder.finish()) + self._stop.finish()
                if self._stop.found:
                    self._sequence.take_back(self.owed())
                self._has_ended = True
                yield self._event("decode", rest, None, self._n_generated, finish_reason)
            finally:
                self._sequence.take_back(self.owed())
                self._has_ended = True

    def owed(self) -> TakeBack | None:
        """See `AnswerUnderWay`: what the sequence has and the caller was not given."""
        sequence, given = self._sequence, self._given
        if self._has_ended or self._start is None or sequence.version != self._version:
            return None
        rest = sequence.model.tokenizer.encode_inside(given.rest) if given.rest else []
        length = self._start - sequence.n_evicted + given.n_tokens
        return TakeBack(self._version, max(length, 0), rest)

    def needs_pass(self) -> bool:
        """See `AnswerUnderWay`. A prompt's own steps compute it; a drafter may add guesses."""
        is_decoding = 0 < self._n_generated < self._max_tokens
        is_over = self._has_ended or self._stop.found
        return is_decoding and not is_over and self._drafter is None

    @property
    def _is_cancelled(self) -> bool:
        return self._cancel is not None and self._cancel.is_set()

    def _prefill(self, request: Request) -> Iterator[GenerationEvent]:
        """Compute the prompt, chunk by chunk."""
        n_prompt, n_before = len(self._prompt), 0
        chunks = self._sequence.prefill(self._prompt, self._version)
        while n_before < n_prompt and not self._is_cancelled:
            request.resume()
            n_done = next(chunks)
            request.spent("prefill", n_done - n_before)
            n_before = n_done
            yield self._event("prefill", "", None, n_done)

    def _decode(self, request: Request) -> Generator[GenerationEvent, None, FinishReason]:
        """Generate the answer, token by token; return why it ended."""
        sequence = self._sequence
        end_tokens = sequence.model.tokenizer.eog_ids
        while self._n_generated < self._max_tokens:
            request.resume()
            draft = self._propose()
            with sequence.model.lock:
                sequence.resume(self._version)
                if self._start is None:
                    self._start = len(sequence.text) + sequence.n_evicted
                if not self._run_pending(draft):
                    return "context"
                token, logprobs = self._sample()
                if token not in end_tokens:
                    sequence.append(token)
            if token in end_tokens:
                request.spent("decode", 0)
                return "stop"
            request.spent("decode", 1)
            piece = self._decoder.push(token)
            text = self._stop.push(piece)
            self._n_generated += 1
            self._given.push(piece, self._decoder.is_whole)
            self._given.give(text)
            yield self._event("decode", text, token, self._n_generated, None, logprobs)
            if self._stop.found:
                return "stop"
            if self._is_cancelled:
                return "cancelled"
        return "length"

    def _propose(self) -> list[int]:
        """Ask the drafter; it may run another model, so this model's lock is not held."""
        sequence, drafter = self._sequence, self._drafter
        if drafter is None:
            return []
        with sequence.model.lock:
            sequence.resume(self._version)
            if not sequence.n_pending or not sequence.has_room(1):
                return []
            max_draft = min(self._max_tokens - self._n_generated - 1, sequence.max_draft())
            text = sequence.text.copy()
        return drafter.propose(text, max_draft)[:max_draft] if max_draft > 0 else []

    def _run_pending(self, draft: list[int]) -> bool:
        """Run the pending token, if there is one; return whether the context had room."""
        sequence = self._sequence
        if sequence.n_pending:
            if self._context_full == "shift":
                make_room_for_token(sequence)
            elif not sequence.has_room(1):
                return False
            sequence.decode(draft)
        return True

    def _sample(self) -> tuple[int, LogProbs | None]:
        """Choose the next token from the logits of the last one."""
        sequence = self._sequence
        logits = sequence.logits
        if self._n_logprobs is None:
            return self._sampler.sample(logits, sequence.text), None
        # sampling changes logits
        before = memoryview(bytearray(logits.cast("B"))).cast("f")
        token = self._sampler.sample(logits, sequence.text)
        return token, log_probs(before, token, self._n_logprobs, sequence.model.logits_ops)

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


def log_probs(logits: memoryview[float], token: int, n_top: int, logits_ops: LogitsOps) -> LogProbs:
    """Return a token's log-probability, and those of the `n_top` most probable tokens."""
    total = logits_ops.log_sum_exp(logits, 1.0)
    top: tuple[tuple[int, float], ...] = ()
    if n_top:
        ids, values = logits_ops.top_k(logits, n_top)
        top = tuple((id, value - total) for id, value in zip(ids, values, strict=True))
    return LogProbs(logits[token] - total, top)
