"""What a caller chooses (EngineConfig, SamplerConfig) and what a file says (ModelConfig)."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

from .errors import InvalidRequestError

if TYPE_CHECKING:
    from .offload import OffloadPolicy

ExecutorChoice = Literal["auto", "kernels", "numpy"]
KVCacheType = Literal["f16", "f32"]


@dataclass(frozen=True, slots=True)
class SamplerConfig:
    """How the next token is chosen from the logits.

    Attributes:
        temperature: 0 chooses the most probable token (greedy); higher is more varied.
        top_k: keep the k most probable tokens; 0 keeps all.
        top_p: keep the smallest set whose probabilities sum to at least this (nucleus sampling).
        min_p: keep tokens at least this fraction as probable as the most probable one.
        repetition_penalty: divides positive and multiplies negative logits of recent tokens
            (Keskar et al. 2019, https://arxiv.org/abs/1909.05858); 1 switches it off.
        repetition_penalty_window: how many of the last tokens count as recent.
        seed: the same seed gives the same text; None draws one from the system.
    """

    temperature: float = 0.7
    top_k: int = 40
    top_p: float = 0.9
    min_p: float = 0.0
    repetition_penalty: float = 1.1
    repetition_penalty_window: int = 64
    seed: int | None = None

    def __post_init__(self) -> None:
        _require(0.0 <= self.temperature <= 1e4, "temperature", self.temperature, "0 to 10000")
        _require(self.top_k >= 0, "top_k", self.top_k, "0 or more")
        _require(0.0 < self.top_p <= 1.0, "top_p", self.top_p, "above 0, at most 1")
        _require(0.0 <= self.min_p <= 1.0, "min_p", self.min_p, "0 to 1")
        _require(
            1e-3 <= self.repetition_penalty <= 1e3,
            "repetition_penalty",
            self.repetition_penalty,
            "0.001 to 1000",
        )
        _require(
            self.repetition_penalty_window >= 0,
            "repetition_penalty_window",
            self.repetition_penalty_window,
            "0 or more",
        )

    @classmethod
    def greedy(cls) -> SamplerConfig:
        """Always the most probable token, with no penalty."""
        return cls(temperature=0.0, repetition_penalty=1.0)


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
        offload_policy: how weights are held in memory.
        executor: "kernels" (C), "numpy" (the slow reference), or "auto": kernels where they load,
            else NumPy with a warning.
        kv_cache_type: number format of the cached keys and values.
    """

    model_path: str = ""
    tokenizer_path: str | None = None
    context_size: int | None = None
    num_threads: int = 4
    sampler: SamplerConfig = field(default_factory=SamplerConfig)
    prefill_chunk_size: int = 512
    offload_policy: OffloadPolicy | None = None
    executor: ExecutorChoice = "auto"
    kv_cache_type: KVCacheType = "f16"

    def __post_init__(self) -> None:
        _require(self.num_threads >= 1, "num_threads", self.num_threads, "1 or more")
        _require(
            self.prefill_chunk_size >= 0, "prefill_chunk_size", self.prefill_chunk_size, "0 or more"
        )
        if self.context_size is not None:
            _require(self.context_size >= 1, "context_size", self.context_size, "1 or more")
        _require(
            self.executor in ("auto", "kernels", "numpy"),
            "executor",
            self.executor,
            '"auto", "kernels" or "numpy"',
        )
        _require(
            self.kv_cache_type in ("f16", "f32"),
            "kv_cache_type",
            self.kv_cache_type,
            '"f16", "f32"',
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


def _require(condition: bool, name: str, value: object, allowed: str) -> None:
    if not condition:
        raise InvalidRequestError(f"{name} is {value!r}; it must be {allowed}")
