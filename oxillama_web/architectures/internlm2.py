"""InternLM 2: Llama.

Cai et al. 2024, https://arxiv.org/abs/2403.17297. The GGUF converter takes the merged matrix apart.
"""

from .llama import build as build

ARCHITECTURE = "internlm2"
