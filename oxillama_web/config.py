"""What a caller chooses (EngineConfig) and what a file says (ModelConfig)."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

from .sampling.config import SamplerConfig, require

if TYPE_CHECKING:
    from .backends.offload import OffloadPolicy
    from .inference.speculation import Drafter

ExecutorChoice = Literal["auto", "kernels", "numpy"]
ContextFull = Literal["stop", "shift"]
KVCacheType = Literal["f16", "f32", "q8_0"]


@dataclass(slots=True)
class EngineConfig:
    """How an engine loads and runs a model.

    Attributes:
        model_path: the GGUF file that `load_model()` opens.
        tokenizer_path: a tokenizer.json to use instead of the one in the file.
        context_size: most tokens in the cache; None takes what the model was trained for.
        num_threads: native threads; a browser tab runs one.
        sampler: the default of `generate`, `stream` and `chat`.
        prefill_chunk_size: tokens of a prompt in one forward pass; 0 is all of them at once.
        prefill_seconds: about how long such a pass may take at most: chunks begin small, and grow
            as long as they take less; 0 is no limit. Answers can be stopped between two chunks.
        offload_policy: how weights are held in memory.
        executor: "kernels" (C), "numpy" (the slow reference), or "auto": kernels where they load,
            else NumPy with a warning.
        kv_cache_type: number format of the cached keys and values: "f16", "f32" (twice the memory)
            or "q8_0" (about half).
        context_full: what generation does when the cache is full: "stop" ends the answer, and
            refuses a prompt that does not fit; "shift" forgets the older half of the tokens, and
            the others move up.
        context_keep: with "shift", how many of the first tokens are never forgotten.
        speculation: guesses tokens ahead (speculation.py): the same answers, sooner.
    """

    model_path: str = ""
    tokenizer_path: str | None = None
    context_size: int | None = None
    num_threads: int = 4
    sampler: SamplerConfig = field(default_factory=SamplerConfig)
    prefill_chunk_size: int = 512
    prefill_seconds: float = 0.0
    offload_policy: OffloadPolicy | None = None
    executor: ExecutorChoice = "auto"
    kv_cache_type: KVCacheType = "f16"
    context_full: ContextFull = "stop"
    context_keep: int = 0
    speculation: Drafter | None = None

    def __post_init__(self) -> None:
        require(self.num_threads >= 1, "num_threads", self.num_threads, "1 or more")
        require(
            self.prefill_chunk_size >= 0, "prefill_chunk_size", self.prefill_chunk_size, "0 or more"
        )
        require(
            self.context_full in ("stop", "shift"),
            "context_full",
            self.context_full,
            '"stop" or "shift"',
        )
        require(self.context_keep >= 0, "context_keep", self.context_keep, "0 or more")
        require(self.prefill_seconds >= 0, "prefill_seconds", self.prefill_seconds, "0 or more")
        if self.context_size is not None:
            require(self.context_size >= 1, "context_size", self.context_size, "1 or more")
        require(
            self.executor in ("auto", "kernels", "numpy"),
            "executor",
            self.executor,
            '"auto", "kernels" or "numpy"',
        )
        require(
            self.kv_cache_type in ("f16", "f32", "q8_0"),
            "kv_cache_type",
            self.kv_cache_type,
            '"f16", "f32" or "q8_0"',
        )


@dataclass(frozen=True, slots=True)
class ModelConfig:
    """What a model file says of itself. Sizes count elements, not bytes.

    `context_length` is what the model was trained for, `context_size` what it is loaded for.
    """

    architecture: str
    name: str
    n_layers: int
    hidden_size: int
    n_heads: int
    n_kv_heads: int
    head_dim: int
    ffn_size: int
    vocab_size: int
    context_length: int
    context_size: int
    norm_eps: float
    rope_dim: int
    rope_base: float
    sliding_window: int = 0
