"""WordPiece vocabularies (BERT) in GGUF files, as llama.cpp's converter writes them, and words.

Tokens that start a word begin with U+2581; those that continue one have no mark. Text is normalized
as llama.cpp does it (llm_tokenizer_wpm_session), which is close to BERT's own way.
"""

from __future__ import annotations

from collections.abc import Callable

from .gguf_tables import VocabularyTables
from .metaspace import METASPACE
from .normalizers import CHINESE
from .regex import UnicodeRegex
from .tokenizer import TextEncoder
from .word_piece import WordPieceModel

_ASCII_SYMBOLS = r"\x24\x2b\x3c-\x3e\x5e\x60\x7c\x7e"


def word_piece_encoder(vocabulary: VocabularyTables) -> TextEncoder:
    """Return the encoder of a `bert` vocabulary."""
    lowercase = vocabulary.flag("normalizer.lowercase", True)
    strip_accents = vocabulary.flag("normalizer.strip_accents", lowercase)
    model = WordPieceModel(vocabulary.ids, vocabulary.token("unknown", 100))
    space = UnicodeRegex(r"\s")
    removed = UnicodeRegex(r"[\x{0}\x{FFFD}\p{Cc}\p{Cf}\p{Co}]")
    accents = UnicodeRegex(r"\p{M}")
    single = UnicodeRegex(rf"[\p{{P}}{_ASCII_SYMBOLS}]|{CHINESE}")

    def encode(text: str, *_: bool) -> list[int]:
        text = space.replace(text, " ")
        if not text.isascii() and strip_accents:
            text = accents.replace("".join(map(_base, text)), "")
        text = removed.replace(text, "")
        if lowercase:
            text = text.lower() if text.isascii() else "".join(map(_lower, text))
        parts = single.split(text)
        return model.encode(METASPACE + word for part in parts for word in part.split(" ") if word)

    return encode


def word_splitter(*, lowercase: bool) -> Callable[[str], list[str]]:
    """Return a function that gives the words of a text, without the white space between them."""
    space = UnicodeRegex(r"\s")

    def split(text: str) -> list[str]:
        words = [word for word in space.replace(text, " ").split(" ") if word]
        return ["".join(map(_lower, word)) for word in words] if lowercase else words

    return split


def _base(char: str) -> str:
    """Return the first character of the canonical decomposition."""
    if char.isascii():
        return char
    import unicodedata

    return unicodedata.normalize("NFD", char)[0]


def _lower(char: str) -> str:
    lower = char.lower()
    return lower if len(lower) == 1 else char
