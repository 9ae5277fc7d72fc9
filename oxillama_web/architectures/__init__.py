"""One file per family of models; each reads its sizes from a GGUF file and writes a plan."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

from ..errors import UnsupportedModelError

if TYPE_CHECKING:
    from collections.abc import Callable

    from ..config import ModelConfig
    from ..gguf.reader import GGUFFile
    from ..plan.operations import Plan

    Reader = Callable[[GGUFFile, int | None], tuple[ModelConfig, Plan]]

# `general.architecture`: the module whose `read` knows it. Only the one in use is imported.
_FAMILIES = {
    "bert": "bert",
    "cohere2": "cohere",
    "command-r": "cohere",
    "falcon": "falcon",
    "gemma": "gemma",
    "gemma2": "gemma2",
    "gemma3": "gemma3",
    "gpt2": "gpt2",
    "granite": "granite",
    "llama": "llama",
    "mistral3": "mistral3",
    "nomic-bert": "bert",
    "olmo2": "olmo2",
    "phi2": "phi2",
    "phi3": "phi3",
    "qwen2": "qwen",
    "qwen2moe": "qwen",
    "qwen3": "qwen",
    "qwen3moe": "qwen",
    "smollm3": "smollm3",
    "stablelm": "stablelm",
    "starcoder": "gpt2",
    "starcoder2": "starcoder2",
}


def supported_architectures() -> tuple[str, ...]:
    """Names as `general.architecture` gives them."""
    return tuple(sorted(_FAMILIES))


def read_model(gguf: GGUFFile, context_size: int | None = None) -> tuple[ModelConfig, Plan]:
    """The model's sizes and its plan.

    Args:
        context_size: how long a context it is loaded for; None: what it was trained for.

    Raises:
        InvalidRequestError: it cannot be loaded for such a context.
        UnsupportedModelError: the architecture is not known.
        ModelFormatError: a size or tensor that the architecture needs is missing or does not fit.
    """
    architecture = gguf.get_str("general.architecture")
    if architecture not in _FAMILIES:
        known = ", ".join(supported_architectures())
        raise UnsupportedModelError(
            f"the model's architecture {architecture!r} is not supported; these are: {known}"
        )
    module = import_module(f".{_FAMILIES[architecture]}", __name__)
    read: Reader = module.read
    return read(gguf, context_size)
