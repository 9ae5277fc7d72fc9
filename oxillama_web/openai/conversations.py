"""Where requests are answered: each in a conversation of its own, over one engine."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Unpack

from ..errors import ContextLengthError

if TYPE_CHECKING:
    from ..engine import InferenceEngine
    from ..inference.generation import GenerationEvent, GenerationOptions
    from .answers import Usage


class Conversations:
    """Begins a conversation for each request.

    Attributes:
        engine: has the model. Its own conversation is not touched.
    """

    def __init__(self, engine: InferenceEngine) -> None:
        """Answer with an engine that has a model."""
        self.engine = engine

    def check_room(self, tokens: list[int]) -> None:
        """Raise ContextLengthError if a prompt does not fit into the context."""
        size = self.engine.context_size
        if len(tokens) > size and self.engine.config.context_full != "shift":
            raise ContextLengthError(
                f"the prompt has {len(tokens)} tokens, but the context takes {size}"
            )

    def answer(
        self,
        tokens: list[int],
        max_tokens: int | None,
        usage: Usage,
        **options: Unpack[GenerationOptions],
    ) -> Iterator[GenerationEvent]:
        """Answer a prompt, and count its tokens; `max_tokens` None takes what the context has."""
        conversation = self.engine.conversation()
        if max_tokens is None:
            max_tokens = max(self.engine.context_size - len(tokens), 0)
        events = conversation.prompt_events(tokens, max_tokens, **options)
        usage.cached += conversation.kv_cache_seq_len
        try:
            for event in events:
                if event.token is not None:
                    usage.completion += 1
                yield event
        finally:
            events.close()
            self.engine.prefix_cache.keep(conversation)
