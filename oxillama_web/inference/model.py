"""A loaded model: what all of its conversations share."""

from __future__ import annotations

import weakref
from _thread import RLock
from array import array
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from ..backends.backend import split_for
from ..backends.forking import renew_after_fork
from ..errors import (
    ChatTemplateError,
    ConversationChangedError,
    InvalidRequestError,
    ModelNotLoadedError,
    UnsupportedModelError,
)
from ..validation import instance, optional, tuple_of
from .metrics import Metrics

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from ..backends.api import Batch, Executor, Outputs
    from ..backends.logits import LogitsOps
    from ..backends.offload import LayerPager
    from ..chat.answer_format import AnswerFormat
    from ..chat.constraints import AnswerConstraints
    from ..config import ModelConfig
    from ..gguf.fingerprint import WeightSamples
    from ..gguf.reader import TensorInfo
    from ..grammar import Constraint
    from ..grammar.masks import GrammarMasks
    from ..plan.lora import AppliedLora
    from ..plan.plan import Plan
    from ..sampling import SamplerConfig
    from ..tokenizer import Tokenizer

_MESSAGES = tuple_of(
    instance(Mapping, 'a message, such as {"role": "user", "content": "Hello"}'),
    'a list of messages, such as [{"role": "user", "content": "Hello"}]',
)
_TOOLS = tuple_of(instance(Mapping, "a mapping that describes a tool"), "a list of tools")

# A message of a chat, such as {"role": "user", "content": "Hello"}.
Message = Mapping[str, Any]


class Logits:
    """The logits of one forward pass: float32 [rows, vocabulary].

    They are a view of the executor's memory. Before the executor's next pass overwrites it,
    `LoadedModel` calls `detach` on those that are still in use.
    """

    def __init__(self, values: memoryview[float], n_rows: int) -> None:
        self._values = values
        self._width = len(values) // n_rows

    def row(self, index: int) -> memoryview[float]:
        """Return the logits of one token, writable."""
        return self._values[index * self._width : (index + 1) * self._width]

    def detach(self) -> None:
        """Copy the logits into memory of their own."""
        self._values = memoryview(bytearray(self._values.cast("B"))).cast("f")


NO_LOGITS = Logits(memoryview(array("f")), 1)


@dataclass(slots=True, eq=False, weakref_slot=True)
class LoadedModel:
    """What all conversations with a model share. Made by `loading.load_model`.

    Any number of threads may use it. `lock` is held for each forward pass and until its logits were
    read, for changes of a cache, of the adapters and of the pager, and to close the model.

    Attributes:
        pooling_type: the pooling that the file asks for, as embeddings.py reads it.
        rerank_template: a reranker's prompt, with {query} and {document}; "" where the file has
            none.
        samples: bytes of each of the plan's weights, for the fingerprint of a snapshot.
        pager: holds the weights of a model with a memory budget.
        grammars: those that were used lately, by their GBNF.
        lock: see above.
        n_taken_along: how many sequences the last pass computed besides the one that asked for it.
        version: counts changes of the adapters and of the pager. Caches of another version are of
            no use.
    """

    config: ModelConfig
    plan: Plan
    tensors: Mapping[str, TensorInfo]
    tokenizer: Tokenizer
    executor: Executor
    logits_ops: LogitsOps
    chat_template: str
    pooling_type: int
    rerank_template: str
    samples: WeightSamples
    pager: LayerPager | None = None
    lora_stack: tuple[AppliedLora, ...] = ()
    metrics: Metrics = field(default_factory=Metrics)
    grammars: dict[str, GrammarMasks] = field(default_factory=dict)
    lock: RLock = field(default_factory=RLock)
    n_taken_along: int = 0
    version: int = 0
    _is_closed: bool = False
    _latest: Callable[[], Logits | None] = lambda: None

    @property
    def context_size(self) -> int:
        """Most tokens that a cache may hold."""
        return self.config.context_size

    def __post_init__(self) -> None:
        """Take part in forks of the process."""
        renew_after_fork(self)

    def renew_after_fork(self) -> None:
        """See `forking`."""
        self.lock = RLock()

    @property
    def is_closed(self) -> bool:
        """Whether `close` was called."""
        return self._is_closed

    def require_open(self) -> None:
        """Raise ModelNotLoadedError after `close`."""
        if self._is_closed:
            raise ModelNotLoadedError(
                "the model was closed, or another one was loaded in its place; begin again with "
                "the engine's present model"
            )

    def require_version(self, version: int) -> None:
        """Raise ConversationChangedError if caches of this version are of no use any more."""
        if version != self.version:
            raise ConversationChangedError(
                "the model's adapters or its memory budget changed while it computed; begin again"
            )

    def close(self) -> None:
        """Free the model once no forward pass is under way. Answers end at their next step."""
        self._is_closed = True
        with self.lock:
            self.executor.close()

    def forward(self, batch: Batch, outputs: Outputs) -> Logits:
        """Run a batch through the model; see `Executor.forward_batch`. The caller holds `lock`."""
        self.require_open()
        self._detach_latest()
        self.n_taken_along = 0
        values = self.executor.forward_batch(batch, outputs)
        n_rows = sum(len(tokens) for _, tokens in batch) if outputs == "all" else len(batch)
        logits = Logits(values, n_rows)
        self._latest, self.n_taken_along = weakref.ref(logits), len(batch) - 1
        return logits

    def hidden_states(self, batch: Batch, outputs: Outputs) -> memoryview[float]:
        """Run a batch up to the output head; as `forward`, see `Executor.hidden_states`."""
        self.require_open()
        self._detach_latest()
        return self.executor.hidden_states(batch, outputs)

    def scores(self, batch: Batch, outputs: Outputs) -> memoryview[float]:
        """Return what a reranker gives, float32 [rows * labels]; as `hidden_states`."""
        self.require_open()
        self._detach_latest()
        return self.executor.forward_batch(batch, outputs)

    def _detach_latest(self) -> None:
        latest = self._latest()
        if latest is not None:
            latest.detach()

    def receive(self, n_received: int) -> int | None:
        """Go on as far as the model's first bytes allow; see `Executor.receive`."""
        self.samples.take(n_received)
        return self.executor.receive(n_received)

    def use_pager(self, pager: LayerPager) -> None:
        """Hold the weights by another policy from now on.

        Raises:
            InvalidRequestError: the model was loaded whole.
            OutOfMemoryError: the budget is too small; nothing has changed.
        """
        with self.lock:
            self.require_open()
            self.executor.use_pager(split_for(self.plan, pager), pager)
            self.pager, self.version = pager, self.version + 1

    def use_loras(self, stack: Sequence[AppliedLora]) -> None:
        """Run with exactly these adapters from now on.

        What caches hold was computed with the adapters before.

        Raises:
            ModelFormatError, UnsupportedModelError: an adapter does not fit; nothing has changed.
        """
        from ..plan.lora import apply_loras

        plan, adapters = apply_loras(self.plan, self.config, self.tensors, stack)
        with self.lock:
            self.require_open()
            self.executor.use_plan(plan, adapters)
            self.lora_stack, self.version = tuple(stack), self.version + 1

    def require_logits(self) -> None:
        """Raise UnsupportedModelError if the model generates no text."""
        if self.plan.is_reranker:
            raise UnsupportedModelError(
                f"the model {self.config.name!r} is a reranker: it scores documents and writes no "
                f"text; call rerank()"
            )
        if self.plan.is_encoder:
            raise UnsupportedModelError(
                f"the model {self.config.name!r} is an encoder: it gives vectors and no text; "
                f"call embed() or embed_batch()"
            )

    def constraint(self, sampler: SamplerConfig) -> Constraint | None:
        """Return what keeps an answer within the sampler's grammar or schema; None without one.

        Raises:
            GrammarError: the grammar or schema is wrong or not supported.
        """
        if sampler.grammar is None and sampler.json_schema is None:
            return None
        from ..grammar import constraint  # a plain chat starts sooner without it

        return constraint(
            sampler.grammar, sampler.json_schema, self.tokenizer, self.logits_ops, self.grammars
        )

    def checked_token(self, token: int) -> int:
        """Return the token; raise InvalidRequestError if it is outside of the vocabulary."""
        if not 0 <= token < self.config.vocab_size:
            raise InvalidRequestError(
                f"token {token} is outside of the vocabulary, 0 to {self.config.vocab_size - 1}"
            )
        return token

    def token_text(self, token: int | None) -> str:
        """Return the text of a special token; "" for None."""
        if token is None:
            return ""
        return self.tokenizer.token_bytes(token).decode("utf-8", "replace")

    @property
    def answer_format(self) -> AnswerFormat:
        """How the model's answers tell thoughts and tool calls from text."""
        from ..chat.answer_format import answer_format

        tokenizer = self.tokenizer
        tokens = map(self.token_text, (tokenizer.bos_id, tokenizer.eos_id))
        return answer_format(self.chat_template, *tokens)

    @property
    def answer_constraints(self) -> AnswerConstraints:
        """Makes what holds answers to tools and grammars, but not the thoughts before them."""
        from ..chat.constraints import AnswerConstraints

        return AnswerConstraints(self.answer_format, self.tokenizer, self.logits_ops, self.grammars)

    def render_chat(
        self,
        messages: Sequence[Message],
        tools: Sequence[Mapping[str, Any]] | None = None,
        **variables: Any,
    ) -> str:
        """Render a chat with the model's own template, ready for the model's answer.

        Args:
            messages: as [{"role": "user", "content": "Hello"}, ...].
            tools: descriptions of functions, as JSON Schema in OpenAI's form.
            variables: more of the template, such as enable_thinking=False.

        Raises:
            ChatTemplateError: the model has no chat template, or it failed.
        """
        from ..chat.template import render_chat_template

        self.require_logits()
        messages = _MESSAGES("messages", messages)
        tools = optional(_TOOLS)("tools", tools)
        if not self.chat_template:
            raise ChatTemplateError(
                f"the model {self.config.name!r} has no chat template; it may be a base model: "
                f"use generate() or stream() with a plain prompt"
            )
        return render_chat_template(
            self.chat_template,
            list(messages),
            bos_token=self.token_text(self.tokenizer.bos_id),
            eos_token=self.token_text(self.tokenizer.eos_id),
            tools=tools,
            **variables,
        )

    def tokenize_chat(
        self,
        messages: Sequence[Message],
        tools: Sequence[Mapping[str, Any]] | None = None,
        **variables: Any,
    ) -> list[int]:
        """Return the token ids of `render_chat`.

        Control tokens that a message spells out, such as <|im_end|>, become control tokens, as
        they do in llama.cpp and in Hugging Face transformers.
        """
        text = self.render_chat(messages, tools, **variables)
        bos = self.token_text(self.tokenizer.bos_id)
        # most templates write the BOS token themselves
        add_bos = False if bos and text.startswith(bos) else None
        return self.tokenizer.encode(text, add_bos=add_bos)
