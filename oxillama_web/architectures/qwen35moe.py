"""Qwen 3.5 with a mixture of experts, and an expert that every token uses."""

from .qwen35 import build

ARCHITECTURE = "qwen35moe"

__all__ = ["ARCHITECTURE", "build"]
