"""Qwen 3 as a mixture of experts.

Qwen Team 2025, https://arxiv.org/abs/2505.09388.
"""

from .qwen3 import build as build

ARCHITECTURE = "qwen3moe"
