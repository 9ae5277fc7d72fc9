"""A GGUF language-model engine in Python, for the browser (Pyodide) and for CPython.

from oxillama_web import InferenceEngine

with InferenceEngine("model.gguf") as engine:
    for piece in engine.stream("Once upon a time", max_tokens=50):
        print(piece, end="", flush=True)
"""

from .backends.offload import LayerPager, OffloadPolicy
from .config import FLASH_ATTN_THRESHOLD, EngineConfig, ModelConfig
from .engine import InferenceEngine
from .errors import (
    ChatTemplateError,
    ContextLengthError,
    ConversationChangedError,
    DownloadError,
    GrammarError,
    InvalidRequestError,
    KernelError,
    ModelFormatError,
    ModelNotLoadedError,
    OutOfMemoryError,
    OxiLlamaError,
    SnapshotError,
    TokenizerError,
    UnsupportedModelError,
)
from .inference.async_engine import AsyncEngine
from .inference.conversation import Conversation
from .inference.draft_model import DraftModel
from .inference.generation import ChatOptions, GenerationEvent, GenerationOptions, LogProbs
from .inference.metrics import MetricsSnapshot
from .inference.speculation import Drafter, PromptLookup
from .sampling import SamplerConfig

__version__ = "0.1.0"

__all__ = [
    "FLASH_ATTN_THRESHOLD",
    "AsyncEngine",
    "ChatOptions",
    "ChatTemplateError",
    "ContextLengthError",
    "Conversation",
    "ConversationChangedError",
    "DownloadError",
    "DraftModel",
    "Drafter",
    "EngineConfig",
    "GenerationEvent",
    "GenerationOptions",
    "GrammarError",
    "InferenceEngine",
    "InvalidRequestError",
    "KernelError",
    "LayerPager",
    "LogProbs",
    "MetricsSnapshot",
    "ModelConfig",
    "ModelFormatError",
    "ModelNotLoadedError",
    "OffloadPolicy",
    "OutOfMemoryError",
    "OxiLlamaError",
    "PromptLookup",
    "SamplerConfig",
    "SnapshotError",
    "TokenizerError",
    "UnsupportedModelError",
]
