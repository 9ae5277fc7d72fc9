"""One file per family of models; each reads its sizes from a GGUF file and writes a plan."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..errors import UnsupportedModelError
from . import gemma3, llama

if TYPE_CHECKING:
    from collections.abc import Callable

    from ..config import ModelConfig
    from ..gguf import GGUFFile
    from ..plan import Plan

_READERS: dict[str, Callable[[GGUFFile], tuple[ModelConfig, Plan]]] = {
    "llama": llama.read,
    "gemma3": gemma3.read,
}


def supported_architectures() -> tuple[str, ...]:
    """Names as `general.architecture` gives them."""
    return tuple(sorted(_READERS))


def read_model(gguf: GGUFFile) -> tuple[ModelConfig, Plan]:
    """The model's sizes and its plan.

    Raises:
        UnsupportedModelError: the architecture is not known.
        ModelFormatError: a size or tensor that the architecture needs is missing or does not fit.
    """
    architecture = gguf.get_str("general.architecture")
    if architecture not in _READERS:
        known = ", ".join(supported_architectures())
        raise UnsupportedModelError(
            f"the model's architecture {architecture!r} is not supported; these are: {known}"
        )
    return _READERS[architecture](gguf)
