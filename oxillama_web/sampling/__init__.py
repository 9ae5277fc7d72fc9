"""Choosing the next token from the logits."""

from .config import SamplerConfig
from .sampler import Sampler

__all__ = ["Sampler", "SamplerConfig"]
