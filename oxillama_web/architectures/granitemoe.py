"""Granite as a mixture of experts, of which one may be used by every token.

IBM Granite Team 2024, https://github.com/ibm-granite/granite-3.0-language-models.
"""

from .granite import build as build

ARCHITECTURE = "granitemoe"
