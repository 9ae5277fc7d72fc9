"""EXAONE 3: Llama with NeoX rotary positions.

LG AI Research 2024, https://arxiv.org/abs/2408.03541.
"""

from .qwen2 import build as build

ARCHITECTURE = "exaone"
