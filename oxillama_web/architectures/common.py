"""What the architectures share: reading sizes, rotary frequencies, the output head."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..config import ModelConfig
from ..errors import ModelFormatError, UnsupportedModelError

if TYPE_CHECKING:
    from ..gguf import GGUFFile
    from ..plan import PlanBuilder

TOKEN_EMBEDDING = "token_embd.weight"
OUTPUT_HEAD = "output.weight"


def read_config(gguf: GGUFFile, default_rope_base: float = 10000.0) -> ModelConfig:
    """The sizes that every decoder states in its metadata, checked against each other.

    Raises:
        ModelFormatError: a size is missing, zero, or does not fit the others.
    """
    arch = gguf.get_str("general.architecture")
    hidden_size = _positive(gguf, f"{arch}.embedding_length")
    n_heads = _positive(gguf, f"{arch}.attention.head_count")
    n_kv_heads = _positive(gguf, f"{arch}.attention.head_count_kv", n_heads)
    if n_heads % n_kv_heads:
        raise ModelFormatError(
            f"{n_heads} attention heads cannot be shared by {n_kv_heads} key heads"
        )
    head_dim = _positive(gguf, f"{arch}.attention.key_length", hidden_size // n_heads)
    rope_dim = _positive(gguf, f"{arch}.rope.dimension_count", head_dim)
    if rope_dim > head_dim or rope_dim % 2:
        raise ModelFormatError(
            f"{arch}.rope.dimension_count is {rope_dim}; it must be even and at most the head "
            f"size, {head_dim}"
        )
    if TOKEN_EMBEDDING not in gguf.tensors:
        raise ModelFormatError(f"the file holds no tensor {TOKEN_EMBEDDING!r}")
    return ModelConfig(
        architecture=arch,
        name=gguf.get_str("general.name", arch),
        n_layers=_positive(gguf, f"{arch}.block_count"),
        hidden_size=hidden_size,
        n_heads=n_heads,
        n_kv_heads=n_kv_heads,
        head_dim=head_dim,
        ffn_size=_positive(gguf, f"{arch}.feed_forward_length"),
        vocab_size=gguf.tensors[TOKEN_EMBEDDING].shape[-1],
        context_length=_positive(gguf, f"{arch}.context_length"),
        rms_norm_eps=gguf.get_float(f"{arch}.attention.layer_norm_rms_epsilon"),
        rope_dim=rope_dim,
        rope_base=gguf.get_float(f"{arch}.rope.freq_base", default_rope_base),
        sliding_window=gguf.get_int(f"{arch}.attention.sliding_window", 0),
    )


def inverse_frequencies(
    gguf: GGUFFile, config: ModelConfig, base: float, *, scaled: bool = True
) -> list[float]:
    """Rotary frequencies base^(-2j/n), linearly scaled and divided by `rope_freqs` where given.

    Su et al. 2021, https://arxiv.org/abs/2104.09864; linear scaling: Chen et al. 2023,
    https://arxiv.org/abs/2306.15595; `rope_freqs.weight` holds Llama 3's divisors.
    """
    n = config.rope_dim
    frequencies = [base ** (-2.0 * j / n) for j in range(n // 2)]
    if not scaled:
        return frequencies
    factor = _linear_scaling(gguf, config.architecture)
    frequencies = [frequency / factor for frequency in frequencies]
    if "rope_freqs.weight" in gguf.tensors:
        divisors = _float32_values(gguf, "rope_freqs.weight", n // 2)
        frequencies = [f / d for f, d in zip(frequencies, divisors, strict=True)]
    return frequencies


def output_head(plan: PlanBuilder, logits: str, src: str) -> None:
    """The product with the vocabulary; the embedding serves where there is no own matrix."""
    plan.linear(logits, src, OUTPUT_HEAD if plan.has(OUTPUT_HEAD) else TOKEN_EMBEDDING)


def _positive(gguf: GGUFFile, key: str, default: int | None = None) -> int:
    value = gguf.get_int(key) if default is None else gguf.get_int(key, default)
    if value < 1:
        raise ModelFormatError(f"{key} is {value}; it must be 1 or more")
    return value


def _linear_scaling(gguf: GGUFFile, arch: str) -> float:
    kind = gguf.get_str(f"{arch}.rope.scaling.type", "none")
    if kind == "none":
        return 1.0
    if kind != "linear":
        raise UnsupportedModelError(
            f"rotary scaling {kind!r} is not supported; these are: none, linear, llama3"
        )
    factor = gguf.get_float(f"{arch}.rope.scaling.factor")
    if not factor > 0.0:
        raise ModelFormatError(f"{arch}.rope.scaling.factor is {factor}; it must be above 0")
    return factor


def _float32_values(gguf: GGUFFile, tensor: str, count: int) -> list[float]:
    info = gguf.tensors[tensor]
    if info.format != 0 or info.shape != (count,):
        raise ModelFormatError(f"tensor {tensor!r} must be {count} F32 values")
    return list(gguf.tensor_data(tensor).cast("B").cast("f"))
