"""What one can do with a conversation: generate, chat, run single tokens, save and restore."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from typing import TYPE_CHECKING, Any

from ..errors import InvalidRequestError, ModelNotLoadedError
from ..validation import any_integer, function, instance, optional, token_ids
from .answer import Answer, texts
from .context_shift import shift_context, without_discarded
from .generation import Generation, GenerationEvent, check_names

if TYPE_CHECKING:
    from typing import Unpack

    import numpy as np
    from numpy.typing import NDArray

    from ..config import EngineConfig
    from ..sampling import SamplerConfig
    from .generation import ChatOptions, GenerationOptions
    from .model import LoadedModel, Message
    from .sequence import TokenSequence
    from .snapshots import KVSnapshot

DEFAULT_MAX_TOKENS = 256
_PROMPT = "text or a list of token ids"


class ConversationMethods:
    """The methods of a conversation, over its sequence of tokens.

    `Conversation` has them for its own sequence, and `InferenceEngine` for the one that it begins
    when it loads a model. Any number of threads may call them: the calls take turns. A call that
    changes the conversation ends an answer that is under way, except that it waits for a `generate`
    of another thread. Threads that want answers of their own take a conversation each.
    """

    _config: EngineConfig
    # that of the conversation; None in an engine without a model
    _current: TokenSequence | None

    @property
    def _sequence(self) -> TokenSequence:
        sequence = self._current
        if sequence is None:
            raise ModelNotLoadedError(
                "no model is loaded; call load_model() or load_model_from_bytes() first"
            )
        return sequence

    @property
    def model(self) -> LoadedModel:
        """The model, which other conversations may share. Raises ModelNotLoadedError."""
        return self._sequence.model

    # forward passes

    @property
    def kv_cache_seq_len(self) -> int:
        """The number of tokens in the cache; 0 without a model."""
        sequence = self._current
        if sequence is None:
            return 0
        with sequence.model.lock:
            sequence.settle()
            return sequence.n_tokens

    def prefill(self, tokens: Sequence[int]) -> None:
        """Append tokens to the cache, after what it holds; see `forward_prefill`.

        An empty list does nothing.
        """
        ids = token_ids("tokens", tokens)
        if not ids:
            return
        self._append(self._sequence, ids)

    def forward_prefill(self, tokens: Sequence[int], pos_start: int) -> NDArray[np.float32]:
        """Append tokens to the cache, in chunks of `EngineConfig.prefill_chunk_size`.

        Args:
            tokens: at least one token id.
            pos_start: the position of the first one, which must be `kv_cache_seq_len`.

        Returns:
            The last token's logits, float32 [vocabulary].

        Raises:
            InvalidRequestError: no tokens, another position, or a token that does not exist.
            ContextLengthError: they do not fit into the context.
        """
        sequence = self._sequence
        ids = token_ids("tokens", tokens)
        if not ids:
            raise InvalidRequestError("a forward pass needs at least one token")
        any_integer("pos_start", pos_start)
        return self._forward(sequence, ids, pos_start)

    def forward_decode(self, token: int, pos: int) -> NDArray[np.float32]:
        """Append one token at position `pos`; return its logits, float32 [vocabulary]."""
        return self.forward_prefill([token], pos)

    def forward_one(self, token: int) -> NDArray[np.float32]:
        """Append one token after what the cache holds; return its logits."""
        return self._forward(self._sequence, token_ids("tokens", [token]))

    def _forward(
        self, sequence: TokenSequence, ids: list[int], pos_start: int | None = None
    ) -> NDArray[np.float32]:
        import numpy as np

        with sequence.turn:
            self._append(sequence, ids, pos_start)
            with sequence.model.lock:
                return np.array(sequence.logits, dtype=np.float32)

    def _append(
        self, sequence: TokenSequence, ids: list[int], pos_start: int | None = None
    ) -> None:
        """Run tokens after what the cache holds; a pending one is dropped."""
        with sequence.turn:
            with sequence.model.lock:
                version = sequence.claim()
                n_cached = sequence.n_tokens
                if pos_start not in (None, n_cached):
                    raise InvalidRequestError(
                        f"pos_start is {pos_start}, but the cache holds {n_cached} tokens; "
                        f"positions must follow on each other"
                    )
                sequence.require_room(len(ids))
                sequence.truncate(n_cached)
            for _ in sequence.prefill(ids, version):
                pass

    def truncate(self, length: int) -> None:
        """Drop all tokens from position `length` on.

        Raises:
            InvalidRequestError: the cache holds fewer tokens.
        """
        sequence = self._sequence
        any_integer("length", length)
        with sequence.turn, sequence.model.lock:
            sequence.claim()
            sequence.truncate(length)

    def reset(self) -> None:
        """Drop all tokens: begin a new conversation. Without a model, do nothing."""
        sequence = self._current
        if sequence is not None:
            with sequence.turn, sequence.model.lock:
                sequence.claim()
                sequence.truncate(0)

    # generation

    def generate(
        self,
        prompt: str | Sequence[int],
        max_tokens: int = DEFAULT_MAX_TOKENS,
        callback: Callable[[str], object] | None = None,
        **options: Unpack[GenerationOptions],
    ) -> str:
        """Continue the conversation with `prompt` and return the answer.

        Args:
            prompt: text, or token ids.
            max_tokens: how many tokens may be generated.
            callback: called with each piece of text; returning False stops the answer.
            options: `sampler`, a SamplerConfig; `stop`, strings that end the answer; and more,
                which help(oxillama_web.GenerationOptions) explains.

        Raises:
            ContextLengthError: the prompt does not fit into what is left of the context.
            InvalidRequestError: the prompt is empty and so is the cache, or an option is wrong.
        """
        optional(function)("callback", callback)
        pieces: list[str] = []
        with self._sequence.turn, closing(self.stream(prompt, max_tokens, **options)) as stream:
            for piece in stream:
                pieces.append(piece)
                if callback is not None and callback(piece) is False:
                    break
        return "".join(pieces)

    def generate_with_config(
        self,
        prompt: str | Sequence[int],
        max_tokens: int,
        sampler_config: SamplerConfig,
        callback: Callable[[str], object] | None = None,
    ) -> str:
        """As `generate`, with a sampler for this answer."""
        return self.generate(prompt, max_tokens, callback, sampler=sampler_config)

    def stream(
        self,
        prompt: str | Sequence[int],
        max_tokens: int = DEFAULT_MAX_TOKENS,
        **options: Unpack[GenerationOptions],
    ) -> Answer[str]:
        """As `generate`, piece by piece; a piece never ends inside a character.

        Leaving the loop early is safe: the next call continues from what was generated.
        """
        events = self.events(prompt, max_tokens, **options)
        return Answer(texts(events), events.turn)

    def events(
        self,
        prompt: str | Sequence[int],
        max_tokens: int = DEFAULT_MAX_TOKENS,
        **options: Unpack[GenerationOptions],
    ) -> Answer[GenerationEvent]:
        """As `stream`, with progress and the reason why it ended. Arguments are checked now."""
        sequence = self._sequence
        model = sequence.model
        ids = None if isinstance(prompt, str) else token_ids("prompt", prompt, _PROMPT)
        with sequence.turn:
            with model.lock:
                version = sequence.claim()
                add_bos = False if sequence.text else None
            if isinstance(prompt, str):
                ids = model.tokenizer.encode(prompt, add_bos=add_bos)
            with model.lock:
                sequence.resume(version)
                if not ids:
                    sequence.make_last_pending()
                tokens = sequence.pending + (ids or [])
                return self._answer(sequence, tokens, max_tokens, 0, True, options)

    # chat

    def chat(
        self,
        messages: Sequence[Message],
        max_tokens: int = DEFAULT_MAX_TOKENS,
        **options: Unpack[ChatOptions],
    ) -> Answer[str]:
        """Answer a chat in the model's own chat template, piece by piece.

        Args:
            messages: as [{"role": "user", "content": "Hello"}, ...], the whole chat. What the cache
                already holds of it is not computed again.
            max_tokens: how many tokens may be generated.
            options: `sampler`, a SamplerConfig; `stop`, strings that end the answer; `tools`,
                functions that the model may call; `variables` of the template, such as
                {"enable_thinking": False}; and more, which help(oxillama_web.ChatOptions) explains.

        Returns:
            An iterator of str. `for piece in engine.chat(messages): print(piece, end="")` prints
            the answer as it is written, and "".join(engine.chat(messages)) is all of it.

        Raises:
            ChatTemplateError: the model has no chat template, or it failed.
        """
        events = self.chat_events(messages, max_tokens, **options)
        return Answer(texts(events), events.turn)

    def chat_events(
        self,
        messages: Sequence[Message],
        max_tokens: int = DEFAULT_MAX_TOKENS,
        **options: Unpack[ChatOptions],
    ) -> Answer[GenerationEvent]:
        """As `chat`, with progress and the reason why it ended."""
        instance(Mapping, "a mapping")("variables", options.get("variables") or {})
        tools, variables = options.pop("tools", None), options.pop("variables", None) or {}
        tokens = self.tokenize_chat(messages, tools, **variables)
        return self._answer_whole(tokens, max_tokens, options)

    def prompt_events(
        self,
        tokens: Sequence[int],
        max_tokens: int = DEFAULT_MAX_TOKENS,
        **options: Unpack[GenerationOptions],
    ) -> Answer[GenerationEvent]:
        """Answer a prompt that is the whole text so far, unlike that of `events`.

        What this cache or another conversation's has of its beginning is not computed again.
        """
        return self._answer_whole(list(tokens), max_tokens, options)

    def render_chat(
        self,
        messages: Sequence[Message],
        tools: Sequence[Mapping[str, Any]] | None = None,
        **variables: Any,
    ) -> str:
        """Render a chat with the model's own template; see `LoadedModel.render_chat`."""
        return self._sequence.model.render_chat(messages, tools, **variables)

    def tokenize_chat(
        self,
        messages: Sequence[Message],
        tools: Sequence[Mapping[str, Any]] | None = None,
        **variables: Any,
    ) -> list[int]:
        """Return the token ids of `render_chat`."""
        return self._sequence.model.tokenize_chat(messages, tools, **variables)

    def _answer_whole(
        self, tokens: list[int], max_tokens: int, options: GenerationOptions
    ) -> Answer[GenerationEvent]:
        sequence = self._sequence
        with sequence.turn, sequence.model.lock:
            sequence.claim()
            tokens = without_discarded(sequence, tokens)
            sequence.use_cached_prefix(tokens)
            n_cached = sequence.n_tokens
            return self._answer(sequence, tokens[n_cached:], max_tokens, n_cached, False, options)

    def _answer(
        self,
        sequence: TokenSequence,
        tokens: list[int],
        max_tokens: int,
        n_cached: int,
        continues_text: bool,
        options: GenerationOptions,
    ) -> Answer[GenerationEvent]:
        sequence.model.require_logits()
        check_names(options)
        if not tokens:
            raise InvalidRequestError("the prompt is empty; give at least one token")
        if self._config.context_full == "shift" and not sequence.has_room(len(tokens)):
            tokens = shift_context(sequence, tokens)
        sequence.require_room(len(tokens))
        generation = Generation(
            sequence,
            tokens,
            max_tokens,
            self._config,
            n_cached=n_cached,
            continues_text=continues_text,
            **options,
        )
        return Answer(generation.events(), sequence.turn)

    # snapshots

    def kv_snapshot(self) -> KVSnapshot | None:
        """Return the conversation as data, None without a model; `to_bytes()` makes a file."""
        from .snapshots import KVSnapshot

        sequence = self._current
        if sequence is None:
            return None
        with sequence.model.lock:
            sequence.model.require_open()
            sequence.settle()
            return KVSnapshot.of(sequence)

    def kv_restore(self, snapshot: KVSnapshot) -> None:
        """Go on from a snapshot instead of this conversation; no token is computed again.

        Raises:
            InvalidRequestError: it was made with another model, another format of the cache or
                another executor, or is broken. The conversation is as it was.
        """
        from .snapshots import KVSnapshot

        sequence = self._sequence
        instance(KVSnapshot, "a KVSnapshot")("snapshot", snapshot)
        with sequence.turn, sequence.model.lock:
            sequence.claim()
            snapshot.restore(sequence)


class Conversation(ConversationMethods):
    """One of several conversations with a model, with a cache of its own.

    Made by `InferenceEngine.conversation`.

    Attributes:
        sequence: its tokens.
    """

    def __init__(self, sequence: TokenSequence, config: EngineConfig) -> None:
        """Begin a conversation over a sequence; `config` has the defaults of its answers."""
        self.sequence = self._current = sequence
        self._config = config

    def __repr__(self) -> str:
        sequence = self.sequence
        return f"<Conversation: {sequence.n_tokens} of {sequence.model.context_size} tokens>"

    @property
    def tokens(self) -> list[int]:
        """The tokens that the cache holds."""
        with self.model.lock:
            self.sequence.settle()
            return list(self.sequence.tokens)

    @property
    def pending(self) -> list[int]:
        """Tokens that were generated but not yet run through the model; at most one."""
        with self.model.lock:
            self.sequence.settle()
            return self.sequence.pending

    @property
    def logits(self) -> memoryview[float]:
        """Float32 [vocabulary] of the last token, a copy; empty before the first one."""
        with self.model.lock:
            return memoryview(bytearray(self.sequence.logits.cast("B"))).cast("f")

    def fork(self) -> Conversation:
        """Return a conversation that goes on from here by itself.

        What both have in common is held once.
        """
        with self.sequence.turn, self.model.lock:
            self.model.require_open()
            self.sequence.settle()
            return Conversation(self.sequence.fork(), self._config)
