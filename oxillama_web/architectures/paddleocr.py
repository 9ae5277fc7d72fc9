"""PaddleOCR-VL, the text part: ERNIE 4.5 with NeoX rotary positions, which is Qwen 2.

Cui et al. 2025, https://arxiv.org/abs/2510.14528.
"""

from . import qwen2
from .model_builder import ModelBuilder
from .rope import has_sections

ARCHITECTURE = "paddleocr"


def build(model: ModelBuilder) -> None:
    """Append the operations of the text part of a PaddleOCR-VL file."""
    has_sections(model.hparams)
    qwen2.build(model)
