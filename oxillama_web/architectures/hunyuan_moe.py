"""Hunyuan as a mixture of experts, with one more expert that every token uses.

Tencent Hunyuan Team 2024, https://arxiv.org/abs/2411.02265.
"""

from .hunyuan_dense import build as build

ARCHITECTURE = "hunyuan-moe"
