"""Every error that oxillama_web raises on purpose, in one hierarchy.

Catch :class:`OxiLlamaError` to catch them all. Each message says what was wrong and what to do.
"""

from __future__ import annotations


class OxiLlamaError(Exception):
    """Base class of all errors of this package."""


class ModelFormatError(OxiLlamaError):
    """The model file is broken, truncated, or not GGUF."""


class UnsupportedModelError(OxiLlamaError):
    """The model file is sound, but its architecture or a tensor format is not supported."""


class TokenizerError(OxiLlamaError):
    """A tokenizer or vocabulary is missing, broken, or of an unsupported kind."""


class ChatTemplateError(OxiLlamaError):
    """A chat template is missing, failed, or was stopped because it misbehaved."""


class ModelNotLoadedError(OxiLlamaError):
    """A call needs a model, and none is loaded yet."""


class ConversationChangedError(OxiLlamaError):
    """The conversation or the model was used for something else before the work was done."""


class InvalidRequestError(OxiLlamaError, ValueError):
    """An argument is out of range: an empty prompt, a wrong position, a bad sampling value."""


class GrammarError(InvalidRequestError):
    """A grammar or JSON Schema is wrong, asks for what is not supported, or is too complex."""


class ContextLengthError(OxiLlamaError):
    """The tokens do not fit the context; the message gives both numbers."""


class SnapshotError(InvalidRequestError):
    """A snapshot of a conversation is broken, or was made with another model."""


class KernelError(OxiLlamaError):
    """The kernel library cannot be loaded, or refused what it was given."""


class ThreadsLostError(KernelError):
    """A thread of the kernels has ended or hangs; the model can no longer be used."""


class OutOfMemoryError(OxiLlamaError, MemoryError):
    """The machine or the browser tab cannot hold the model or its cache."""


class DownloadError(OxiLlamaError):
    """A model could not be fetched, or what arrived is not what was promised."""
