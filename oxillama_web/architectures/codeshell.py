"""CodeShell: StarCoder 2.

Xie et al. 2024, https://arxiv.org/abs/2403.15747.
"""

from .starcoder2 import build as build

ARCHITECTURE = "codeshell"
