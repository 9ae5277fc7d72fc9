"""Qwen, the first one: Qwen 2 with one matrix for Q, K and V.

Bai et al. 2023, https://arxiv.org/abs/2309.16609. The files state a feed-forward length of twice
the real one.
"""

from .qwen2 import build as build

ARCHITECTURE = "qwen"
