"""The steps of an answer, and the loop that makes them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from .sampling import Sampler
    from .session import Session
    from .tokenizer import StreamDecoder

FinishReason = Literal["stop", "length", "context", "cancelled"]


class GenerationEvent:
    """One step of an answer.

    Attributes:
        phase: "prefill" while the prompt is read, then "decode".
        text: what this step adds to the answer; may be empty.
        token: the token that was chosen, None in prefill and in an answer's last event.
        n_done: prompt tokens read so far (prefill), or tokens generated so far (decode).
        n_total: tokens of the prompt that are not in the cache yet (prefill), or the most tokens
            that may be generated (decode).
        finish_reason: None, or in the last event "stop" (an end-of-generation token), "length"
            (max_tokens), "context" (the cache is full), "cancelled" (a callback asked to stop).
    """

    __slots__ = ("finish_reason", "n_done", "n_total", "phase", "text", "token")

    def __init__(
        self,
        phase: Literal["prefill", "decode"],
        text: str,
        token: int | None,
        n_done: int,
        n_total: int,
        finish_reason: FinishReason | None = None,
    ) -> None:
        self.phase = phase
        self.text = text
        self.token = token
        self.n_done = n_done
        self.n_total = n_total
        self.finish_reason = finish_reason


def generate_events(
    session: Session, prompt: list[int], max_tokens: int, sampler: Sampler, decoder: StreamDecoder
) -> Iterator[GenerationEvent]:
    """Reads the prompt and writes the answer; the session is usable whenever the loop is left."""
    session.pending = []
    for n_done in session.read(prompt):
        yield GenerationEvent("prefill", "", None, n_done, len(prompt))
    finish_reason: FinishReason = "length"
    n_generated = 0
    while n_generated < max_tokens:
        token = sampler.sample(session.logits, session.tokens)
        session.pending = [token]
        if token in session.model.tokenizer.eog_ids:
            finish_reason = "stop"
            break
        n_generated += 1
        yield GenerationEvent("decode", decoder.push(token), token, n_generated, max_tokens)
        if n_generated == max_tokens:
            break
        if session.kv_cache_seq_len >= session.model.context_size:
            finish_reason = "context"
            break
        session.forward([token])
        session.pending = []
    yield GenerationEvent("decode", decoder.finish(), None, n_generated, max_tokens, finish_reason)


def texts(events: Iterator[GenerationEvent]) -> Iterator[str]:
    """The answer's pieces of text."""
    for event in events:
        if event.text:
            yield event.text
