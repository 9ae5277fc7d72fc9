"""Granite 4 hybrids: Mamba 2 in most layers, attention in the others, with or without experts.

IBM 2025, https://www.ibm.com/granite/docs/models/granite.
"""

from .granite import build as build

ARCHITECTURE = "granitehybrid"
