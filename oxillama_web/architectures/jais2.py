"""Jais 2: Nemotron with biases everywhere.

Inception, MBZUAI and Cerebras 2025, https://huggingface.co/inceptionai/Jais-2-8B-Chat.
"""

from .nemotron import build as build

ARCHITECTURE = "jais2"
