"""A model's hyperparameters: the metadata under its architecture's name, checked."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ..config import ModelConfig
from ..errors import ModelFormatError

if TYPE_CHECKING:
    from ..gguf.reader import GGUFFile

TOKEN_EMBEDDING = "token_embd.weight"

# The largest in use are some hundreds; a broken file must not make us fill the memory.
MAX_HEAD_DIM = 1 << 16


class Hyperparameters:
    """A file's metadata, read by what follows the architecture's name: "rope.freq_base".

    Without a default, each method raises ModelFormatError where the key is missing; with or without
    one, where the value is of another type.
    """

    def __init__(self, gguf: GGUFFile) -> None:
        self.gguf = gguf
        self.architecture = gguf.get_str("general.architecture")

    def key(self, name: str) -> str:
        """Return the whole key, for messages."""
        return f"{self.architecture}.{name}"

    def has(self, name: str) -> bool:
        """Return whether the file states it."""
        return self.key(name) in self.gguf.metadata

    def get_int(self, name: str, default: int | None = None) -> int:
        """Return an integer."""
        return self.gguf.get_int(self.key(name), default)

    def get_float(self, name: str, default: float | None = None) -> float:
        """Return a number."""
        return self.gguf.get_float(self.key(name), default)

    def get_bool(self, name: str, default: bool | None = None) -> bool:
        """Return a truth value."""
        return self.gguf.get_bool(self.key(name), default)

    def get_str(self, name: str, default: str | None = None) -> str:
        """Return a string."""
        return self.gguf.get_str(self.key(name), default)

    def get_positive(self, name: str, default: int | None = None) -> int:
        """Return an integer of at least 1, as counts and sizes are."""
        value = self.get_int(name, default)
        if value < 1:
            raise ModelFormatError(f"{self.key(name)} is {value}; it must be 1 or more")
        return value

    def get_layer_array(self, name: str, n_layers: int) -> list[Any] | None:
        """Return the values of the layers, or None where the file states no array of them."""
        if not isinstance(self.gguf.metadata.get(self.key(name)), list):
            return None
        values = self.gguf.get_array(self.key(name))
        if len(values) != n_layers:
            raise ModelFormatError(
                f"{self.key(name)} has {len(values)} entries for {n_layers} layers"
            )
        return values


def read_config(hparams: Hyperparameters, context_size: int | None) -> ModelConfig:
    """Return the sizes that every model states, checked against each other.

    Args:
        context_size: the number of positions the model is loaded for; None: as many as it was
            trained for.

    Raises:
        ModelFormatError: a size is missing, zero, or does not fit the others.
    """
    hidden_size = hparams.get_positive("embedding_length")
    n_heads = hparams.get_positive("attention.head_count")
    n_kv_heads = hparams.get_positive("attention.head_count_kv", n_heads)
    if n_heads % n_kv_heads:
        raise ModelFormatError(
            f"{n_heads} attention heads cannot be shared by {n_kv_heads} key heads"
        )
    head_dim = hparams.get_positive("attention.key_length", hidden_size // n_heads)
    if head_dim > MAX_HEAD_DIM:
        raise ModelFormatError(f"a head of {head_dim} values is more than {MAX_HEAD_DIM}")
    rope_dim = hparams.get_positive("rope.dimension_count", head_dim)
    if rope_dim > head_dim or rope_dim % 2:
        raise ModelFormatError(
            f"{hparams.key('rope.dimension_count')} is {rope_dim}; it must be even and at most the "
            f"head size, {head_dim}"
        )
    tensors = hparams.gguf.tensors
    if TOKEN_EMBEDDING not in tensors:
        raise ModelFormatError(f"the file holds no tensor {TOKEN_EMBEDDING!r}")
    context_length = hparams.get_positive("context_length")
    return ModelConfig(
        architecture=hparams.architecture,
        name=hparams.gguf.get_str("general.name", hparams.architecture),
        n_layers=hparams.get_positive("block_count"),
        hidden_size=hidden_size,
        n_heads=n_heads,
        n_kv_heads=n_kv_heads,
        head_dim=head_dim,
        ffn_size=hparams.get_positive("feed_forward_length"),
        vocab_size=tensors[TOKEN_EMBEDDING].shape[-1],
        context_length=context_length,
        context_size=context_size or context_length,
        norm_eps=_norm_eps(hparams),
        rope_dim=rope_dim,
        rope_base=hparams.get_float("rope.freq_base", 10000.0),
        sliding_window=hparams.get_int("attention.sliding_window", 0),
    )


def count_experts_used(hparams: Hyperparameters) -> int:
    """Return how many experts of a layer each token uses; 0 where there are none.

    Raises:
        ModelFormatError: that number does not fit the number of experts.
    """
    n_experts = hparams.get_int("expert_count", 0)
    n_used = hparams.get_int("expert_used_count", 0)
    if not (1 <= n_used <= n_experts or n_used == n_experts == 0):
        raise ModelFormatError(
            f"{hparams.key('expert_used_count')} is {n_used} of {hparams.key('expert_count')} "
            f"{n_experts}; each token must use at least one of the experts"
        )
    return n_used


def layer_window(hparams: Hyperparameters, config: ModelConfig, layer: int, period: int) -> int:
    """Return the sliding window of a layer: 0 in every `period`-th one, which sees all positions.

    A file may state another period, or for each layer whether there is a window.

    Raises:
        ModelFormatError: what the file states does not fit.
    """
    name = "attention.sliding_window_pattern"
    pattern = hparams.get_layer_array(name, config.n_layers)
    if pattern is not None:
        return config.sliding_window if pattern[layer] else 0
    period = hparams.get_int(name, period)
    if period < 0:
        raise ModelFormatError(f"{hparams.key(name)} is {period}; it must be 0 or more")
    is_global = period > 0 and (layer + 1) % period == 0
    return 0 if is_global else config.sliding_window


def trained_length(hparams: Hyperparameters, config: ModelConfig) -> int:
    """Return the number of positions the model was trained for before its context was extended.

    Raises:
        ModelFormatError: the file states a number below 1.
    """
    return hparams.get_positive("rope.scaling.original_context_length", config.context_length)


def _norm_eps(hparams: Hyperparameters) -> float:
    if hparams.has("attention.layer_norm_epsilon"):
        return hparams.get_float("attention.layer_norm_epsilon")
    return hparams.get_float("attention.layer_norm_rms_epsilon")
