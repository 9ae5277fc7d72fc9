"""Writes oxillama_web/tokenizer/unicode_ranges.py from the regex engine of Hugging Face tokenizers.

Python's own unicodedata follows the interpreter's version; a vocabulary's split rules must not. So
each table is what the oracle's engine (Oniguruma) matches, asked for every code point.

    pip install tokenizers && python tools/make_unicode_ranges.py
"""

from __future__ import annotations

from pathlib import Path

import tokenizers
from tokenizers import Regex, pre_tokenizers

TARGET = Path(__file__).parent.parent / "oxillama_web" / "tokenizer" / "unicode_ranges.py"
# fmt: off
CATEGORIES = [
    "Lu", "Ll", "Lt", "Lm", "Lo", "Mn", "Mc", "Me", "Nd", "Nl", "No", "Pc", "Pd", "Ps", "Pe", "Pi",
    "Pf", "Po", "Sm", "Sc", "Sk", "So", "Zs", "Zl", "Zp", "Cc", "Cf", "Co",
]
# fmt: on
SCRIPTS = ["Han", "Hiragana", "Katakana", "Hangul", "Thai", "Latin", "Greek", "Cyrillic"]
SURROGATES = range(0xD800, 0xE000)
ALL_CHARACTERS = "".join(chr(c) for c in range(0x110000) if c not in SURROGATES)
DIGITS = "0123456789abcdefghijklmnopqrstuvwxyz"
HEADER = '''\
"""Code points of Unicode's general categories and scripts; made by tools/make_unicode_ranges.py.

Each string lists ranges in ascending order: the gap after the range before and the length less
one (left out where that is zero), both in base 36. Source: Oniguruma in tokenizers {version}.
"""

from __future__ import annotations

# fmt: off
RANGES = {{
'''


def main() -> None:
    lines = [HEADER.format(version=tokenizers.__version__)]
    tables = {name: matched_ranges(rf"\p{{{name}}}+") for name in CATEGORIES + SCRIPTS}
    tables["word"] = matched_ranges(r"\w+")
    tables["punctuation"] = punctuation_ranges()
    for name, ranges in tables.items():
        lines.append(f'    "{name}": (\n')
        lines += [f'        "{chunk}"\n' for chunk in wrap(encode(ranges), 86)]
        lines.append("    ),\n")
    lines.append("}\n")
    TARGET.write_text("".join(lines))


def matched_ranges(pattern: str) -> list[tuple[int, int]]:
    """First and last code point of each run that the pattern matches."""
    splitter = pre_tokenizers.Split(Regex(pattern), "removed", invert=True)
    ranges = []
    for _, (start, end) in splitter.pre_tokenize_str(ALL_CHARACTERS):
        first, last = ord(ALL_CHARACTERS[start]), ord(ALL_CHARACTERS[end - 1])
        if first < SURROGATES.start <= last:
            ranges += [(first, SURROGATES.start - 1), (SURROGATES.stop, last)]
        else:
            ranges.append((first, last))
    return ranges


def punctuation_ranges() -> list[tuple[int, int]]:
    """What the Punctuation pre-tokenizer splits at: the table of an older Unicode."""
    splitter = pre_tokenizers.Punctuation("removed")
    others = "".join(piece for piece, _ in splitter.pre_tokenize_str(ALL_CHARACTERS))
    ranges: list[tuple[int, int]] = []
    for code_point in sorted(map(ord, set(ALL_CHARACTERS) - set(others))):
        if ranges and ranges[-1][1] + 1 == code_point:
            ranges[-1] = ranges[-1][0], code_point
        else:
            ranges.append((code_point, code_point))
    return ranges


def encode(ranges: list[tuple[int, int]]) -> str:
    words = []
    end = 0
    for first, last in ranges:
        words.append(base36(first - end) + (f",{base36(last - first)}" if last > first else ""))
        end = last + 1
    return " ".join(words)


def base36(number: int) -> str:
    text = ""
    while True:
        number, digit = divmod(number, 36)
        text = DIGITS[digit] + text
        if not number:
            return text


def wrap(text: str, width: int) -> list[str]:
    return [text[i : i + width] for i in range(0, len(text), width)]


if __name__ == "__main__":
    main()
