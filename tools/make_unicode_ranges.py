"""Writes oxillama_web/tokenizer/unicode_ranges.py from the regex engine of Hugging Face tokenizers.

Python's own unicodedata follows the interpreter's version; a vocabulary's split rules must not. So
each table is what the oracle's engine (Oniguruma) matches, asked for every code point. The tables
with long names are those of its other parts, which follow older and newer versions of Unicode.

    pip install tokenizers unicodedata2 && python tools/make_unicode_ranges.py
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import tokenizers
import unicodedata2
from tokenizers import Regex, normalizers, pre_tokenizers

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
    tables |= {name: ranges_where(test) for name, test in TESTS.items()}
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


def ranges_where(test: Callable[[str], bool]) -> list[tuple[int, int]]:
    """The runs of characters that pass a test."""
    ranges: list[tuple[int, int]] = []
    for code_point in map(ord, filter(test, ALL_CHARACTERS)):
        if ranges and ranges[-1][1] + 1 == code_point:
            ranges[-1] = ranges[-1][0], code_point
        else:
            ranges.append((code_point, code_point))
    return ranges


def is_unnormalized(char: str) -> bool:
    """Whether the oracle's normalization forms are too old to know the character."""
    # behind and before marks of other classes, so that a change of order shows
    text = f"a\u0301{char}\u0e49\u0591\u0323b"
    return any(
        form.normalize_str(text) != unicodedata2.normalize(name, text)
        for name, form in FORMS.items()
    )


def is_dropped(normalizer: normalizers.Normalizer) -> Callable[[str], bool]:
    return lambda char: normalizer.normalize_str(f"a{char}b") == "ab"


def n_pieces(pre_tokenizer: pre_tokenizers.PreTokenizer, text: str) -> int:
    return len(pre_tokenizer.pre_tokenize_str(text))


FORMS = {name: getattr(normalizers, name)() for name in ("NFC", "NFD", "NFKC", "NFKD")}
BERT = {"clean_text": False, "handle_chinese_chars": False, "lowercase": False}
BERT |= {"strip_accents": False}
PUNCTUATION, DIGITS_OF_RUST = pre_tokenizers.Punctuation("removed"), pre_tokenizers.Digits()
WHITESPACE = pre_tokenizers.Whitespace()
TESTS: dict[str, Callable[[str], bool]] = {
    "punctuation": lambda char: n_pieces(PUNCTUATION, char) == 0,
    "numeric": lambda char: n_pieces(DIGITS_OF_RUST, "a" + char) == 2,
    "word_of_rust": lambda char: n_pieces(WHITESPACE, "a" + char) == 1 and not char.isspace(),
    "unnormalized": is_unnormalized,
    "stripped_accent": is_dropped(normalizers.StripAccents()),
    "stripped_by_bert": is_dropped(normalizers.BertNormalizer(**BERT | {"strip_accents": True})),
    "cleaned_by_bert": is_dropped(normalizers.BertNormalizer(**BERT | {"clean_text": True})),
}


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
