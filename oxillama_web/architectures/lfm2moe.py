"""LFM2 with a mixture of experts in all but the first layers."""

from .lfm2 import build

ARCHITECTURE = "lfm2moe"

__all__ = ["ARCHITECTURE", "build"]
