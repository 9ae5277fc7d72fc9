"""HunyuanOCR, the text part: Hunyuan.

Tencent Hunyuan Team 2025, https://arxiv.org/abs/2511.19575.
"""

from . import hunyuan_dense
from .model_builder import ModelBuilder
from .rope import has_sections

ARCHITECTURE = "hunyuan_vl"


def build(model: ModelBuilder) -> None:
    """Append the operations of the text part of a HunyuanOCR file."""
    has_sections(model.hparams)
    hunyuan_dense.build(model)
