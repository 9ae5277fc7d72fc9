"""What the caller chooses (EngineConfig) and what the model file says (ModelConfig)."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any, Literal, get_args

from .backends.offload import OffloadPolicy
from .inference.speculation import Drafter
from .sampling.config import SamplerConfig
from .validation import (
    MAX_INT64,
    choice,
    file_path,
    instance,
    integer,
    number,
    optional,
    setting,
    settings_of,
)

# The original engine's: from this many tokens on, attention never materializes its scores. The
# kernels never do, at any length; NumPy, the reference, always does.
FLASH_ATTN_THRESHOLD = 512

ExecutorChoice = Literal["auto", "kernels", "numpy"]
ContextFull = Literal["stop", "shift"]
KVCacheType = Literal["f16", "f32", "q8_0"]

# As many as kernels_c/run/thread_pool.c starts.
MAX_THREADS = 1024

_SAMPLER = instance(SamplerConfig, "a SamplerConfig")
_OFFLOAD = instance(OffloadPolicy, "an OffloadPolicy")
_DRAFTER = instance(Drafter, "a Drafter, such as PromptLookup()")


@dataclass(slots=True)
class EngineConfig:
    """How an engine loads and runs a model.

    Attributes:
        model_path: the GGUF file that `load_model()` opens.
        tokenizer_path: a tokenizer.json to use instead of the vocabulary in the file.
        context_size: the largest number of tokens in the cache; None is the context length that
            the model was trained for.
        num_threads: native threads. In a page, the kernels' pool says how many there are.
        sampler: the default of `generate`, `stream` and `chat`.
        prefill_chunk_size: tokens of a prompt in one forward pass; 0 is all of them at once.
        prefill_seconds: about how long such a pass may take: chunks begin small, and grow as long
            as they take less than half of it; 0 is no limit. An answer can be cancelled between
            two chunks.
        offload_policy: how weights are held in memory; None is `OffloadPolicy.mmap()`.
        executor: "kernels" (C), "numpy" (the slow reference), or "auto": kernels where they load,
            else NumPy with a warning.
        kv_cache_type: number format of the cached keys and values: "f16", "f32" (twice the memory)
            or "q8_0" (about half).
        prefix_cache_bytes: how many bytes of caches of requests that are over (of OpenAI's API and
            of AsyncEngine) are kept for later ones that begin as they do; the oldest are dropped.
        context_full: what generation does when the cache is full. "stop" ends the answer, and
            refuses a prompt that does not fit. "shift" discards the older half of the tokens, and
            the others move up.
        context_keep: with "shift", how many of the first tokens are never discarded.
        speculation: guesses tokens ahead (speculation.py): the same answers, sooner.

    Raises:
        InvalidRequestError: a value is out of range or of another kind, also when it is set later.
    """

    model_path: str = setting("", file_path)
    tokenizer_path: str | None = setting(None, optional(file_path))
    context_size: int | None = setting(None, optional(integer(1)))
    num_threads: int = setting(4, integer(1, MAX_THREADS))
    sampler: SamplerConfig = field(default_factory=SamplerConfig, metadata={"check": _SAMPLER})
    prefill_chunk_size: int = setting(512, integer(0))
    prefill_seconds: float = setting(0.0, number(0, 1e9))
    offload_policy: OffloadPolicy | None = setting(None, optional(_OFFLOAD))
    executor: ExecutorChoice = setting("auto", choice(*get_args(ExecutorChoice)))
    kv_cache_type: KVCacheType = setting("f16", choice(*get_args(KVCacheType)))
    prefix_cache_bytes: int = setting(256 << 20, integer(0, MAX_INT64))
    context_full: ContextFull = setting("stop", choice(*get_args(ContextFull)))
    context_keep: int = setting(0, integer(0))
    speculation: Drafter | None = setting(None, optional(_DRAFTER))

    def __setattr__(self, name: str, value: Any) -> None:
        """Check a setting whenever it is set."""
        check = settings_of(EngineConfig).get(name)
        object.__setattr__(self, name, value if check is None else check(name, value))

    def with_offload(self, policy: OffloadPolicy | None) -> EngineConfig:
        """Return a copy that holds weights by another policy."""
        return replace(self, offload_policy=policy)


@dataclass(frozen=True, slots=True)
class ModelConfig:
    """The sizes in a model file's metadata. They count elements, not bytes.

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
