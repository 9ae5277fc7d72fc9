"""Patterns with Unicode classes match what Hugging Face tokenizers' engine matches."""

from __future__ import annotations

import functools

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Regex, pre_tokenizers

from oxillama_web.errors import TokenizerError
from oxillama_web.tokenizer import gguf_pre_tokenizers
from oxillama_web.tokenizer.unicode_regex import UnicodeRegex, isolating_splitter

ALL_CHARACTERS = "".join(chr(c) for c in range(0x110000) if not 0xD800 <= c < 0xE000)
CLASSES = [r"\p{L}", r"\p{N}", r"[^\s\p{L}\p{N}]"]
MORE_CLASSES = [
    *(r"\p{M}", r"\p{P}", r"\p{S}", r"\p{Z}", r"\p{C}", r"\P{L}", r"\p{^N}", r"\p{Lu}", r"\p{Ll}"),
    *(r"\p{Lt}", r"\p{Lm}", r"\p{Lo}", r"\p{Nd}", r"\p{Mn}", r"\p{Sc}", r"\s", r"\d", r"\w", r"\S"),
    *(r"\D", r"\W", r"\p{Han}", r"\p{Hiragana}", r"\p{Cyrillic}", r"[^\r\n\p{L}\p{N}]", r"[\S\d]"),
    *(r"[^\P{L}a-z]", r"[a-z\-\]]", "[é-ü]", "."),
]
RULES = [rule for rule, _ in gguf_pre_tokenizers._PRE_TOKENIZERS]
TEXT = st.lists(
    st.one_of(
        st.sampled_from(
            list("aAbBsS'd1 \t\n\r.,!$+~_/éßΣſ½²Ⅷ漢か가ｱहि\u0301\u200d\u2028\xa0\x85\x1c😀🏽")
        ),
        st.sampled_from(["'ll", "'RE", "  ", "123", "4567", " the", "𐐀", "Ǆ", "ǅ", "ʰ", "؟"]),
        st.characters(codec="utf-8"),
    ),
    max_size=40,
).map("".join)


def oracle(pattern: str) -> pre_tokenizers.Split:
    return pre_tokenizers.Split(Regex(pattern), "isolated")


@pytest.mark.parametrize("pattern", CLASSES)
def test_classes_on_every_character(pattern: str) -> None:
    expected = [piece for piece, _ in oracle(f"{pattern}+").pre_tokenize_str(ALL_CHARACTERS)]
    assert isolating_splitter((f"{pattern}+",))(ALL_CHARACTERS) == expected


@pytest.mark.parametrize("pattern", CLASSES + MORE_CLASSES)
@pytest.mark.parametrize("last", [0x7F, 0xFFFF])
def test_smaller_alphabets(pattern: str, last: int) -> None:
    text = "".join(char for char in ALL_CHARACTERS if ord(char) <= last)
    expected = [piece for piece, _ in oracle(f"{pattern}+").pre_tokenize_str(text)]
    assert isolating_splitter((f"{pattern}+",))(text) == expected


@functools.cache
def both(index: int) -> tuple[object, pre_tokenizers.Sequence]:
    # \z at the end: the oracle knows it as well
    patterns = RULES[index].patterns
    return isolating_splitter(patterns), pre_tokenizers.Sequence([oracle(p) for p in patterns])


@pytest.mark.parametrize("index", [i for i, rule in enumerate(RULES) if "(?=(" not in rule[0][-1]])
@settings(deadline=None, max_examples=60)
@given(text=TEXT)
def test_gguf_pre_tokenizers(index: int, text: str) -> None:
    ours, theirs = both(index)
    assert ours(text) == [piece for piece, _ in theirs.pre_tokenize_str(text)]  # type: ignore[operator]


@settings(deadline=None)
@given(TEXT)
def test_case_insensitive_groups(text: str) -> None:
    pattern = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?+\p{L}++|\s+(?!\S)"
    expected = [piece for piece, _ in oracle(pattern).pre_tokenize_str(text)]
    assert isolating_splitter((pattern,))(text) == expected


def test_escapes() -> None:
    assert UnicodeRegex(r"\x{1F600}\u00e9\x41\t\.\/").split("😀éA\t./") == ["", "😀éA\t./", ""]
    assert UnicodeRegex(r"(a)(b)?").split("xaby") == ["x", "ab", "y"]
    assert UnicodeRegex(r"\s+$").split("a \nb ") == ["a", " ", "\nb", " ", ""]


@pytest.mark.parametrize(
    "pattern",
    [
        *(
            r"\p{Nope}",
            r"\p{L",
            r"\pL",
            "[a",
            "(",
            "a**",
            r"[a&&b]",
            "[[:alpha:]]",
            r"\X",
            r"(a)\1",
        ),
        *("\\", r"\xzz", r"\x{110000}", "(?<=a+)b", "a{5,2}", "[b-a]"),
    ],
)
def test_patterns_that_cannot_be_used(pattern: str) -> None:
    with pytest.raises(TokenizerError, match="cannot be used"):
        UnicodeRegex(pattern)


def test_unknown_rule_names_what_is_known() -> None:
    with pytest.raises(TokenizerError, match=r"'new-one'.*smollm"):
        gguf_pre_tokenizers.gguf_pre_tokenizer("new-one")
