"""GPT-2's reversible map between bytes and printable characters.

Source: `bytes_to_unicode` of https://github.com/openai/gpt-2/blob/master/src/encoder.py: printable
Latin-1 characters stand for themselves; the 68 other bytes are written as U+0100 and up.
"""

from __future__ import annotations

import codecs

_PRINTABLE = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
_OTHERS = [byte for byte in range(256) if byte not in _PRINTABLE]
_CHAR_OF_BYTE = {byte: chr(byte) for byte in _PRINTABLE} | {
    byte: chr(0x100 + index) for index, byte in enumerate(_OTHERS)
}
_TABLE = "".join(_CHAR_OF_BYTE[byte] for byte in range(256))
_BYTE_OF_CHAR = {ord(char): byte for byte, char in _CHAR_OF_BYTE.items()}

ALPHABET = frozenset(_TABLE)


def text_to_byte_chars(text: str) -> str:
    """Return one character for each UTF-8 byte of the text."""
    return codecs.charmap_decode(text.encode(), "strict", _TABLE)[0]


def byte_chars_to_bytes(token: str) -> bytes:
    """Return the bytes of a token; one with other characters (an added token) is plain text."""
    try:
        return codecs.charmap_encode(token, "strict", _BYTE_OF_CHAR)[0]
    except UnicodeEncodeError:
        return token.encode("utf-8", "surrogateescape")
