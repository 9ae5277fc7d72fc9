"""Mistral under its own name: Llama's tensors, with a sliding window where the file states one.

Jiang et al. 2023, https://arxiv.org/abs/2310.06825. llama.cpp's converter calls such files "llama".
"""

from .llama import build as build

ARCHITECTURE = "mistral"
