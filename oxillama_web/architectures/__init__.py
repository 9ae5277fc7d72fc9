"""One module for each architecture, which builds its plan from a GGUF file.

A module is named after the `general.architecture` that it builds, with "_" for "-", and states that
name exactly as `ARCHITECTURE`. Nothing else lists the architectures.
"""

from __future__ import annotations

from importlib import import_module
from pkgutil import iter_modules
from typing import TYPE_CHECKING

from ..errors import UnsupportedModelError
from .model_builder import ModelBuilder

if TYPE_CHECKING:
    from types import ModuleType

    from ..config import ModelConfig
    from ..gguf.reader import GGUFFile
    from ..plan.plan import Plan


def build_model(gguf: GGUFFile, context_size: int | None = None) -> tuple[ModelConfig, Plan]:
    """Return the model's sizes and its plan; of all architectures, only its own is imported.

    Args:
        context_size: the number of positions the model is loaded for; None: as many as it was
            trained for.

    Raises:
        InvalidRequestError: it cannot be loaded for such a context.
        UnsupportedModelError: the architecture is unknown.
        ModelFormatError: a size or tensor that the architecture needs is missing or does not fit.
    """
    architecture = gguf.get_str("general.architecture")
    module = _find(architecture)
    if module is None:
        known = ", ".join(supported_architectures())
        raise UnsupportedModelError(
            f"the model's architecture {architecture!r} is not supported; these are: {known}"
        )
    model = ModelBuilder(gguf, context_size)
    module.build(model)
    return model.finish()


def supported_architectures() -> tuple[str, ...]:
    """Return the names as `general.architecture` gives them; imports all modules."""
    modules = [import_module(f".{info.name}", __name__) for info in iter_modules(__path__)]
    return tuple(sorted(m.ARCHITECTURE for m in modules if hasattr(m, "ARCHITECTURE")))


def _find(architecture: str) -> ModuleType | None:
    name = architecture.replace("-", "_")
    if not name.isidentifier():
        return None
    try:
        module = import_module(f".{name}", __name__)
    except ModuleNotFoundError as error:
        if error.name != f"{__name__}.{name}":
            raise
        return None
    return module if getattr(module, "ARCHITECTURE", None) == architecture else None
