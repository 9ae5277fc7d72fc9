"""Writes the Unicode tables of oxillama_web/tokenizer/regex, from Hugging Face tokenizers.

Python's own unicodedata follows the interpreter's version; how a vocabulary splits text must not.
So each table is what the oracle's engine (Oniguruma) matches, asked for every code point. The
tables named rust:... are those of its other parts, which follow older and newer versions of
Unicode.

    pip install tokenizers unicodedata2 && python tools/make_unicode_ranges.py
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path

import tokenizers
import unicodedata2
from tokenizers import Regex, normalizers, pre_tokenizers

FOLDER = Path(__file__).parent.parent / "oxillama_web" / "tokenizer" / "regex"
CATEGORIES = (
    "Lu Ll Lt Lm Lo Mn Mc Me Nd Nl No Pc Pd Ps Pe Pi Pf Po Sm Sc Sk So Zs Zl Zp Cc Cf Co"
).split()
BINARY = "Alphabetic Lowercase Uppercase Emoji Extended_Pictographic".split()
SCRIPTS = (
    "Arabic Armenian Bengali Cyrillic Devanagari Ethiopic Georgian Greek Gujarati Gurmukhi "
    "Han Hangul Hebrew Hiragana Kannada Katakana Khmer Lao Latin Malayalam Mongolian "
    "Myanmar Oriya Sinhala Tamil Telugu Thai Tibetan"
).split()
SURROGATES = range(0xD800, 0xE000)
ALL_CHARACTERS = "".join(chr(c) for c in range(0x110000) if c not in SURROGATES)
DIGITS = "0123456789abcdefghijklmnopqrstuvwxyz"
WIDTH = 89
RANGES_HEADER = '''\
"""Code points of Unicode's properties and scripts; made by tools/make_unicode_ranges.py.

Each string lists ranges in ascending order: the gap after the range before and the length less
one (left out where that is zero), both in base 36. Source: Oniguruma in tokenizers {version}.
"""

from __future__ import annotations

# fmt: off
RANGES = {{
'''
CASE_HEADER = '''\
"""Characters that are equal without regard to case; made by tools/make_unicode_ranges.py.

PAIRS lists runs of two equal characters: the first code point, the distance to its partner, the
step to the next pair, and their number, all in base 36. CLASSES lists more than two, in base 36.
EXPANSIONS lists a character that is equal to several, followed by these. Source: Oniguruma in
tokenizers {version}.
"""

from __future__ import annotations

# fmt: off
'''


def main() -> None:
    tables = {
        name.replace("_", "").lower(): matched_ranges(rf"\p{{{name}}}+")
        for name in CATEGORIES + BINARY + SCRIPTS
    }
    tables["word"] = matched_ranges(r"\w+")
    tables |= {f"rust:{name}": ranges_where(test) for name, test in RUST_TESTS.items()}
    lines = [RANGES_HEADER.format(version=tokenizers.__version__)]
    for name, ranges in tables.items():
        lines += [f'    "{name}":\n', "".join(quoted(encode(ranges))).rstrip() + ",\n"]
    (FOLDER / "unicode_ranges.py").write_text("".join([*lines, "}\n"]))
    write_case_tables()


def write_case_tables() -> None:
    classes = case_classes()
    lines = [CASE_HEADER.format(version=tokenizers.__version__)]
    texts = {
        "PAIRS": " ".join(runs([found for found in classes if len(found) == 2])),
        "CLASSES": " ".join("=".join(map(base36, found)) for found in classes if len(found) > 2),
        "EXPANSIONS": " ".join("=".join(base36(ord(c)) for c in found) for found in expansions()),
    }
    for name, text in texts.items():
        lines += [f"{name} = (\n", *quoted(text), ")\n"]
    (FOLDER / "unicode_case.py").write_text("".join(lines))


def matched_ranges(pattern: str) -> list[tuple[int, int]]:
    """Return the first and last code point of each run that the pattern matches."""
    ranges = []
    for start, end in matches(pattern, ALL_CHARACTERS):
        first, last = ord(ALL_CHARACTERS[start]), ord(ALL_CHARACTERS[end - 1])
        if first < SURROGATES.start <= last:
            ranges += [(first, SURROGATES.start - 1), (SURROGATES.stop, last)]
        else:
            ranges.append((first, last))
    return ranges


def matches(pattern: str, text: str) -> list[tuple[int, int]]:
    """Return where the pattern matches."""
    splitter = pre_tokenizers.Split(Regex(pattern), "removed", invert=True)
    return [span for _, span in splitter.pre_tokenize_str(text)]


def ranges_where(test: Callable[[str], bool]) -> list[tuple[int, int]]:
    """Return the runs of characters that pass a test."""
    ranges: list[tuple[int, int]] = []
    for code_point in map(ord, filter(test, ALL_CHARACTERS)):
        if ranges and ranges[-1][1] + 1 == code_point:
            ranges[-1] = ranges[-1][0], code_point
        else:
            ranges.append((code_point, code_point))
    return ranges


def case_classes() -> list[tuple[int, ...]]:
    """Return the sets of single characters that are equal without regard to case."""
    pattern = r"[\p{Changes_When_Casemapped}\p{Changes_When_Casefolded}]+"
    candidates = [
        chr(code) for first, last in matched_ranges(pattern) for code in range(first, last + 1)
    ]
    text = "\n".join(candidates)
    classes = set()
    for char in candidates:
        found = {text[start:end] for start, end in matches(f"(?i:{char})", text)}
        if len(found) > 1:
            classes.add(tuple(sorted(map(ord, found))))
    return sorted(classes)


def expansions() -> list[str]:
    """Return each character that is equal to several, followed by these."""
    pairs = [(char, char.casefold()) for char in ALL_CHARACTERS if len(char.casefold()) > 1]
    return [c + text for c, text in pairs if matches(f"(?i:{c})", text) == [(0, len(text))]]


def runs(pairs: Iterable[tuple[int, ...]]) -> list[str]:
    """Return the pairs as runs of equal distance and step."""
    found: list[list[int]] = []  # first, distance, step, count
    for one, other in pairs:
        distance = other - one
        for run in found:
            first, run_distance, step, count = run
            gap = one - (first + step * (count - 1))
            if run_distance == distance and gap in (1, 2) and (count == 1 or gap == step):
                run[2:] = gap, count + 1
                break
        else:
            found.append([one, distance, 1, 1])
    return [",".join(map(base36, run)) for run in found]


def is_unnormalized(char: str) -> bool:
    """Return whether the oracle's normalization forms are too old to know the character."""
    # after and before marks of other classes, so that a change of order shows
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
RUST_TESTS: dict[str, Callable[[str], bool]] = {
    "punctuation": lambda char: n_pieces(PUNCTUATION, char) == 0,
    "numeric": lambda char: n_pieces(DIGITS_OF_RUST, "a" + char) == 2,
    "word": lambda char: n_pieces(WHITESPACE, "a" + char) == 1 and not char.isspace(),
    "unnormalized": is_unnormalized,
    "strippedaccent": is_dropped(normalizers.StripAccents()),
    "strippedbybert": is_dropped(normalizers.BertNormalizer(**BERT | {"strip_accents": True})),
    "cleanedbybert": is_dropped(normalizers.BertNormalizer(**BERT | {"clean_text": True})),
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


def quoted(text: str) -> list[str]:
    """Return lines of Python that hold a long text."""
    chunks = [text[i : i + WIDTH] for i in range(0, len(text), WIDTH)]
    return [f'        "{chunk}"\n' for chunk in chunks]


if __name__ == "__main__":
    main()
