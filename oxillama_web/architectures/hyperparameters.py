"""A model's hyperparameters: the metadata under its architecture's name, checked."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from ..config import ModelConfig
from ..errors import ModelFormatError
from ..gguf.cursor import quote

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

    def get_layer_ints(
        self, name: str, n_layers: int, default: int | Sequence[int] | None = None
    ) -> list[int]:
        """Return an integer for each layer: one for all of them, or an array.

        Args:
            default: for all layers, or one for each.

        Raises:
            ModelFormatError: an entry is no integer or below 0.
        """
        values = self.get_layer_array(name, n_layers)
        if values is None:
            if isinstance(default, Sequence) and not self.has(name):
                return list(default)
            values = [self.get_int(name, default if isinstance(default, int) else None)] * n_layers
        for layer, value in enumerate(values):
            if not isinstance(value, int) or isinstance(value, bool) or value < 0:
                raise ModelFormatError(
                    f"{self.key(name)} is {quote(value)} in layer {layer}; it must be an integer "
                    "of 0 or more"
                )
        return values


def read_config(hparams: Hyperparameters, context_size: int | None) -> ModelConfig:
    """Return the sizes that every model states, checked against each other.

    Those that layers may have of their own are the largest of all layers; see `read_layer_sizes`.

    Args:
        context_size: the number of positions the model is loaded for; None: as many as it was
            trained for.

    Raises:
        ModelFormatError: a size is missing, zero, or does not fit the others.
    """
    tensors = hparams.gguf.tensors
    n_layers = hparams.get_positive("block_count")
    if n_layers > len(tensors):
        raise ModelFormatError(
            f"{hparams.key('block_count')} is {n_layers}, and the file holds {len(tensors)} tensors"
        )
    hidden_size = hparams.get_positive("embedding_length")
    if TOKEN_EMBEDDING not in tensors:
        raise ModelFormatError(f"the file holds no tensor {TOKEN_EMBEDDING!r}")
    context_length = hparams.get_positive("context_length")
    sizes = read_layer_sizes(hparams, n_layers, hidden_size)
    return ModelConfig(
        architecture=hparams.architecture,
        name=hparams.gguf.get_str("general.name", hparams.architecture),
        n_layers=n_layers,
        hidden_size=hidden_size,
        **{name: max(values) for name, values in sizes.items()},
        vocab_size=tensors[TOKEN_EMBEDDING].shape[-1],
        context_length=context_length,
        context_size=context_size or context_length,
        norm_eps=_norm_eps(hparams),
        rope_base=hparams.get_float("rope.freq_base", 10000.0),
    )


def read_layer_sizes(
    hparams: Hyperparameters, n_layers: int, hidden_size: int
) -> dict[str, list[int]]:
    """Return each layer's value of the fields of `ModelConfig` that layers may have of their own.

    Raises:
        ModelFormatError: a size is missing, zero in all layers, or does not fit the others. Models
            with recurrent layers need have neither attention nor a feed-forward.
    """

    def read(name: str, default: int | Sequence[int] | None = None, smallest: int = 1) -> list[int]:
        values = hparams.get_layer_ints(name, n_layers, default)
        if max(values) < smallest:
            raise ModelFormatError(f"{hparams.key(name)} is {max(values)}; it must be 1 or more")
        return values

    smallest = 0 if hparams.has("ssm.inner_size") else 1
    n_heads = read("attention.head_count", smallest=smallest)
    n_kv_heads = read("attention.head_count_kv", n_heads, smallest)
    for n, n_kv in zip(n_heads, n_kv_heads, strict=True):
        if n_kv and n % n_kv:
            raise ModelFormatError(f"{n} attention heads cannot be shared by {n_kv} key heads")
    smallest_head = min(smallest + any(n_heads), 1)
    default_dim = hidden_size // next(filter(None, n_heads), hidden_size + 1)
    head_dim = read("attention.key_length", default_dim, smallest_head)
    if max(head_dim) > MAX_HEAD_DIM:
        raise ModelFormatError(f"a head of {max(head_dim)} values is more than {MAX_HEAD_DIM}")
    rope_dim = read("rope.dimension_count", head_dim, smallest_head)
    for n_rot, dim in zip(rope_dim, head_dim, strict=True):
        if n_rot > dim or n_rot % 2:
            raise ModelFormatError(
                f"{hparams.key('rope.dimension_count')} is {n_rot}; it must be even and at most "
                f"the head size, {dim}"
            )
    return {
        "n_heads": n_heads,
        "n_kv_heads": n_kv_heads,
        "head_dim": head_dim,
        "ffn_size": read("feed_forward_length", smallest=smallest),
        "rope_dim": rope_dim,
        "sliding_window": hparams.get_layer_ints("attention.sliding_window", n_layers, 0),
    }


def count_experts_used(hparams: Hyperparameters, n_layers: int) -> list[int]:
    """Return how many experts of each layer a token uses; 0 where there are none.

    Raises:
        ModelFormatError: that number does not fit the number of experts.
    """
    n_experts = hparams.get_int("expert_count", 0)
    n_used = hparams.get_layer_ints("expert_used_count", n_layers, 0)
    if not (1 <= max(n_used) <= n_experts or max(n_used) == n_experts == 0):
        raise ModelFormatError(
            f"{hparams.key('expert_used_count')} is {max(n_used)} of {hparams.key('expert_count')} "
            f"{n_experts}; each token must use at least one of the experts"
        )
    return n_used


def layer_window(
    hparams: Hyperparameters,
    config: ModelConfig,
    layer: int,
    period: int,
    is_global_first: bool = False,
) -> int:
    """Return the sliding window of a layer: 0 in every `period`-th one, which sees all positions.

    A file may state another period, or for each layer whether there is a window.

    Raises:
        ModelFormatError: what the file states does not fit.
    """
    name = "attention.sliding_window_pattern"
    pattern = hparams.get_layer_array(name, hparams.get_positive("block_count"))
    if pattern is not None:
        if not isinstance(pattern[layer], int):
            raise ModelFormatError(
                f"{hparams.key(name)} is {quote(pattern[layer])} in layer {layer}; it must be a "
                "boolean or an integer"
            )
        return config.sliding_window if pattern[layer] else 0
    period = hparams.get_int(name, period)
    if period < 0:
        raise ModelFormatError(f"{hparams.key(name)} is {period}; it must be 0 or more")
    place = layer if is_global_first else layer + 1
    is_global = period > 0 and place % period == 0
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
