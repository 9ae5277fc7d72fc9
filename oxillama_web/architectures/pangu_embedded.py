"""openPangu Embedded: Qwen 2.

Chen et al. 2025, https://arxiv.org/abs/2505.22375.
"""

from .qwen2 import build as build

ARCHITECTURE = "pangu-embedded"
