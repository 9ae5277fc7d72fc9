r"""Regular expressions in Oniguruma's syntax, with Unicode's classes (\p{L}, \s, ...).

Vocabularies split text with such patterns (tokenizer.json, llama.cpp). One is parsed into a tree
(parser.py). Python's re matches it if it can do so quickly (translation.py), otherwise a matcher of
our own does (matching.py).

All this happens up to three times, each when first needed: for ASCII text, for text of the Basic
Multilingual Plane, and for all text. The smaller the sets of characters, the faster they match.
"""

from __future__ import annotations

from .patterns import UnicodeRegex, isolating_splitter
from .properties import WHITE_SPACE

__all__ = ["WHITE_SPACE", "UnicodeRegex", "isolating_splitter"]
