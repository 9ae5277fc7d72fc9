"""Choosing the next token from the logits."""

from .sampler import Sampler

__all__ = ["Sampler"]
