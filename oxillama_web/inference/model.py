"""From a GGUF file to a model that can run: its plan, its tokenizer, and an executor."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING
from weakref import WeakSet

from ..architectures import read_model
from ..backends import create_executor, create_logits_ops, create_string_kernels, paged_executor
from ..errors import (
    InvalidRequestError,
    ModelFormatError,
    OutOfMemoryError,
    TokenizerError,
    UnsupportedModelError,
)
from ..gguf.fingerprint import sample
from ..gguf.reader import map_file
from ..gguf.shards import open_parts, part_paths, read_parts
from ..tokenizer import load_gguf_vocabulary, load_tokenizer_json
from .metrics import Metrics

if TYPE_CHECKING:
    import mmap
    from collections.abc import Callable, Mapping, Sequence

    from ..backends.api import Executor
    from ..backends.kernels.paging import LayerPager
    from ..backends.logits import LogitsOps
    from ..backends.offload import OffloadPolicy
    from ..config import EngineConfig, ModelConfig
    from ..gguf.reader import GGUFFile, TensorInfo
    from ..grammar import Constraint
    from ..grammar.masks import GrammarMasks
    from ..plan.lora import AppliedLora
    from ..plan.operations import Plan
    from ..sampling import SamplerConfig
    from ..tokenizer import Tokenizer
    from .conversation import Conversation

    ModelBytes = bytes | bytearray | memoryview | mmap.mmap

_TOKENIZER_IN_GGUF = "tokenizer.huggingface.json"


@dataclass(slots=True)
class LoadedModel:
    """What all conversations of a model share. `pooling_type` is the file's, for embeddings.py.

    `weight_samples` gives weight_samples.sample of each of the plan's weights, in the plan's order.
    """

    config: ModelConfig
    plan: Plan
    tensors: Mapping[str, TensorInfo]
    tokenizer: Tokenizer
    executor: Executor
    logits_ops: LogitsOps
    context_size: int
    prefill_chunk_size: int
    prefill_seconds: float
    chat_template: str
    pooling_type: int
    weight_samples: Callable[[], Sequence[bytes]]
    pager: LayerPager | None = None
    with_pager: Callable[[LayerPager], Executor] | None = None
    lora_stack: tuple[AppliedLora, ...] = ()
    metrics: Metrics = field(default_factory=Metrics)
    conversations: WeakSet[Conversation] = field(default_factory=WeakSet)
    # by their GBNF
    grammars: dict[str, GrammarMasks] = field(default_factory=dict)
    # whose logits the executor's memory holds
    last_conversation: Callable[[], Conversation | None] = lambda: None

    def use_pager(self, pager: LayerPager) -> None:
        """Holds weights by another policy from now on; all conversations begin anew.

        Raises:
            InvalidRequestError: the model was loaded whole.
            OutOfMemoryError: the budget is too small; nothing has changed.
        """
        if self.with_pager is None:
            raise InvalidRequestError(
                "the model is in memory as a whole; load it with OffloadPolicy.budget(...) first"
            )
        executor = self.with_pager(pager)
        self.executor.close()
        self.executor, self.pager = executor, pager
        for conversation in self.conversations:
            conversation.restart()

    def use_loras(self, stack: Sequence[AppliedLora]) -> None:
        """Runs with these adapters from now on; all conversations begin anew.

        Raises:
            ModelFormatError, UnsupportedModelError: an adapter does not fit; nothing has changed.
        """
        if not stack and not self.lora_stack:
            return
        from ..plan.lora import apply_loras

        self.executor.use_plan(*apply_loras(self.plan, self.config, self.tensors, stack))
        self.lora_stack = tuple(stack)
        for conversation in self.conversations:
            conversation.reset()

    def require_logits(self) -> None:
        """Raises UnsupportedModelError if the model is an encoder, which writes no text."""
        if self.plan.is_encoder:
            raise UnsupportedModelError(
                f"the model {self.config.name!r} is an encoder: it gives vectors and no text; "
                f"call embed() or embed_batch()"
            )

    def constraint(self, sampler: SamplerConfig) -> Constraint | None:
        """What keeps an answer within the sampler's grammar or schema; None if it has neither.

        Raises:
            GrammarError: the grammar or schema is wrong or not supported.
        """
        if sampler.grammar is None and sampler.json_schema is None:
            return None
        from ..grammar import constraint  # not for a plain chat, which starts sooner so

        return constraint(sampler, self.tokenizer, self.logits_ops, self.grammars)

    def checked_token(self, token: int) -> int:
        """The token.

        Raises:
            InvalidRequestError: it is outside of the vocabulary.
        """
        if not 0 <= token < self.config.vocab_size:
            raise InvalidRequestError(
                f"token {token} is outside of the vocabulary, 0 to {self.config.vocab_size - 1}"
            )
        return token

    def token_text(self, token: int | None) -> str:
        """The text of a special token; "" for None."""
        if token is None:
            return ""
        return self.tokenizer.token_bytes(token).decode("utf-8", "replace")


def load_model(
    data: ModelBytes,
    starts: Sequence[int],
    tokenizer_json: str | bytes | None,
    folder: Path | None,
    config: EngineConfig,
    *,
    consume: bool,
    pager: LayerPager | None = None,
    path: Path | None = None,
) -> LoadedModel:
    """Reads a model from the bytes of its file, or of its files, which lie behind one another.

    Args:
        starts: where each file begins.
        tokenizer_json: a tokenizer to use instead of the file's own.
        folder: where a tokenizer.json may lie if neither is there.
        consume: the data may be kept and overwritten.
        pager: holds weights in memory by its policy, and reads the others again and again.
        path: where to read them from, instead of the data.

    Raises:
        ModelFormatError, UnsupportedModelError, TokenizerError: what the file holds is wrong.
        OutOfMemoryError: it does not fit into memory, or a pager's budget is too small.
        OSError: the file cannot be read.
    """
    gguf = open_parts(data, starts, create_string_kernels())
    samples: list[bytes] = []

    def read(offset: int, n_bytes: int) -> memoryview:
        return gguf.buffer[offset : offset + n_bytes]

    def whole_executor(plan: Plan) -> Executor:
        # of the file's bytes: packing moves them
        samples.extend(sample(info, read) for info in plan.weights.values())
        return create_executor(plan, gguf, config, consume=consume)

    if pager is None:
        return load_with_executor(
            gguf,
            tokenizer_json,
            folder,
            config,
            whole_executor,
            create_logits_ops(config),
            lambda: samples,
        )
    from ..backends.kernels.paging import BytesSource, FileSource

    source = BytesSource(gguf.buffer) if path is None else FileSource(path)
    model = load_with_executor(
        gguf,
        tokenizer_json,
        folder,
        config,
        lambda plan: paged_executor(plan, gguf, config, source, pager),
        create_logits_ops(config),
        lambda: [sample(info, read) for info in model.plan.weights.values()],
    )
    model.pager = pager
    model.with_pager = lambda other: paged_executor(model.plan, gguf, config, source, other)
    return model


def load_with_executor(
    gguf: GGUFFile,
    tokenizer_json: str | bytes | None,
    folder: Path | None,
    config: EngineConfig,
    make_executor: Callable[[Plan], Executor],
    logits_ops: LogitsOps,
    weight_samples: Callable[[], Sequence[bytes]],
) -> LoadedModel:
    """As `load_model`, with an executor of the caller's, which need not have its weights yet.

    Args:
        weight_samples: as in `LoadedModel`; is called when a conversation is saved or restored.
    """
    model_config, plan = read_model(gguf, config.context_size)
    tokenizer = _load_tokenizer(gguf, tokenizer_json, folder)
    if tokenizer.n_vocab > model_config.vocab_size:
        raise ModelFormatError(
            f"the tokenizer knows {tokenizer.n_vocab} tokens and the model only "
            f"{model_config.vocab_size}; they do not belong together"
        )
    return LoadedModel(
        config=model_config,
        plan=plan,
        tensors=gguf.tensors,
        tokenizer=tokenizer,
        executor=make_executor(plan),
        logits_ops=logits_ops,
        context_size=model_config.context_size,
        prefill_chunk_size=config.prefill_chunk_size,
        prefill_seconds=config.prefill_seconds,
        chat_template=gguf.get_str("tokenizer.chat_template", ""),
        pooling_type=gguf.get_int(f"{model_config.architecture}.pooling_type", 0),
        weight_samples=weight_samples,
    )


def open_model(path: Path, policy: OffloadPolicy) -> tuple[bytearray | mmap.mmap, list[int]]:
    """A model's bytes, which the engine may overwrite, and where each of its files begins in them.

    Raises:
        ModelFormatError: the path is not that of the first of several files.
        OSError: a file cannot be read.
        OutOfMemoryError: it cannot be mapped.
    """
    import mmap

    paths = part_paths(path)
    if len(paths) > 1 or policy.kind == "none":
        return read_parts(paths)
    with path.open("rb") as file:
        try:
            # copy on write: interleaving the weights never reaches the file
            access = mmap.ACCESS_READ if policy.has_budget else mmap.ACCESS_COPY
            return map_file(file, access), [0]
        except OSError as error:
            raise OutOfMemoryError(f"cannot map {path} into memory: {error}") from error


def _load_tokenizer(
    gguf: GGUFFile, tokenizer_json: str | bytes | None, folder: Path | None
) -> Tokenizer:
    if tokenizer_json is None and _TOKENIZER_IN_GGUF in gguf.metadata:
        tokenizer_json = gguf.get_str(_TOKENIZER_IN_GGUF)
    if tokenizer_json is None and "tokenizer.ggml.model" in gguf.metadata:
        return load_gguf_vocabulary(gguf.metadata)
    if tokenizer_json is None and folder is not None and (folder / "tokenizer.json").is_file():
        tokenizer_json = (folder / "tokenizer.json").read_bytes()
    if tokenizer_json is not None:
        bos, eos = (
            _optional_id(gguf, f"tokenizer.ggml.{name}_token_id") for name in ("bos", "eos")
        )
        return load_tokenizer_json(tokenizer_json, bos, eos, use_library=True)
    raise TokenizerError("the model file holds no vocabulary; give a tokenizer.json with the model")


def _optional_id(gguf: GGUFFile, key: str) -> int | None:
    return gguf.get_int(key) if key in gguf.metadata else None
