"""Ling 2: as dots.llm1, with experts in groups.

Ling Team 2025, https://arxiv.org/abs/2510.22115.
"""

from .dots1 import build as build

ARCHITECTURE = "bailingmoe2"
