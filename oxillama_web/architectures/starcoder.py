"""StarCoder: GPT-2 with one key head for all queries.

Li et al. 2023, https://arxiv.org/abs/2305.06161; multi-query attention: Shazeer 2019,
https://arxiv.org/abs/1911.02150.
"""

from .gpt2 import build as build

ARCHITECTURE = "starcoder"
