"""Many requests at once, for code that awaits."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from ..validation import instance, token_ids
from .conversation import DEFAULT_MAX_TOKENS
from .scheduler import Scheduler

if TYPE_CHECKING:
    from types import TracebackType
    from typing import Self, Unpack

    from ..engine import InferenceEngine
    from .generation import ChatOptions, GenerationEvent, GenerationOptions
    from .model import Message

_VARIABLES = instance(Mapping, "a mapping")
_PROMPT = "text or a list of token ids"


class AsyncEngine:
    """Answers any number of requests at once with one engine.

    Each request is a conversation of its own. Requests that are under way share forward passes, and
    a prompt that begins as an earlier one computes only what is new. Any number of threads and
    event loops may use it.

        async with AsyncEngine(engine) as requests:
            async for event in requests.chat([{"role": "user", "content": "Hello"}]):
                print(event.text, end="")
    """

    def __init__(self, engine: InferenceEngine, *, max_running: int = 32) -> None:
        """Start the thread in which requests are answered.

        Args:
            engine: has a model. Its own conversation is not touched.
            max_running: how many requests are computed at the same time; more wait.
        """
        self._engine = engine
        self._scheduler = Scheduler(max_running=max_running)

    def generate(
        self,
        prompt: str | Sequence[int],
        max_tokens: int = DEFAULT_MAX_TOKENS,
        *,
        priority: int = 0,
        **options: Unpack[GenerationOptions],
    ) -> AsyncGenerator[GenerationEvent, None]:
        """Continue a prompt, and yield the steps of the answer.

        Leaving the loop ends the request; `contextlib.aclosing` does so at once.

        Args:
            prompt: text, or token ids.
            max_tokens: how many tokens may be generated.
            priority: where more requests wait than may run, those of a higher priority run.
            options: see GenerationOptions.

        Raises:
            ContextLengthError: the prompt does not fit into the context.
            InvalidRequestError: the prompt is empty, or an option is wrong.
            ModelNotLoadedError: there is no model, or `close` was called.
        """

        def tokens() -> list[int]:
            if isinstance(prompt, str):
                return self._engine.tokenize(prompt)
            return token_ids("prompt", prompt, _PROMPT)

        return self._run(tokens, max_tokens, priority, options)

    def chat(
        self,
        messages: Sequence[Message],
        max_tokens: int = DEFAULT_MAX_TOKENS,
        *,
        priority: int = 0,
        **options: Unpack[ChatOptions],
    ) -> AsyncGenerator[GenerationEvent, None]:
        """Answer a chat in the model's own chat template; otherwise as `generate`.

        Args:
            messages: the whole chat, as in `InferenceEngine.chat`.
            max_tokens: as in `generate`.
            priority: as in `generate`.
            options: see ChatOptions.

        Raises:
            ChatTemplateError: the model has no chat template, or it failed.
        """
        tools, variables = options.pop("tools", None), options.pop("variables", None) or {}
        _VARIABLES("variables", variables)

        def tokens() -> list[int]:
            return self._engine.tokenize_chat(messages, tools, **variables)

        return self._run(tokens, max_tokens, priority, options)

    def close(self) -> None:
        """End all requests with a ModelNotLoadedError; the engine stays open."""
        self._scheduler.close()

    async def __aenter__(self) -> Self:
        """Return itself; the block closes it."""
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def _run(
        self, tokens: Callable[[], list[int]], max_tokens: int, priority: int, options: Any
    ) -> AsyncGenerator[GenerationEvent, None]:
        def answer() -> Iterator[GenerationEvent]:
            conversation = self._engine.conversation()
            try:
                yield from conversation.prompt_events(tokens(), max_tokens, **options)
            finally:
                self._engine.prefix_cache.keep(conversation)

        return self._scheduler.run(answer, priority)
