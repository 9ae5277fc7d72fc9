"""ChatGLM 3 and GLM 4 (9B, 2024): Llama with merged matrices, and a half of each head rotates.

GLM Team 2024, https://arxiv.org/abs/2406.12793.
"""

from .llama import build as build

ARCHITECTURE = "chatglm"
