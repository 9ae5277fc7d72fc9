"""XVERSE: Llama.

XVERSE Technology 2023, https://github.com/xverse-ai/XVERSE-13B.
"""

from .llama import build as build

ARCHITECTURE = "xverse"
