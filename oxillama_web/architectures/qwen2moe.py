"""Qwen 2 as a mixture of experts, with one more expert that every token uses.

Qwen Team 2024, https://arxiv.org/abs/2407.10671.
"""

from .qwen2 import build as build

ARCHITECTURE = "qwen2moe"
