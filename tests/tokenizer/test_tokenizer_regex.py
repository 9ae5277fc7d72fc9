"""Patterns with Unicode classes match what Hugging Face tokenizers' engine matches."""

from __future__ import annotations

import functools
import json
import time
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Regex, pre_tokenizers

from oxillama_web.errors import TokenizerError
from oxillama_web.tokenizer import gguf_pre_tokenizers
from oxillama_web.tokenizer.json_node import Node
from oxillama_web.tokenizer.regex import UnicodeRegex, isolating_splitter
from oxillama_web.tokenizer.replacement import Replacement

# of the tokenizers in packages of npm and PyPI, and of llama.cpp
PUBLIC_PATTERNS = json.loads(
    (Path(__file__).parent.parent / "data" / "split_patterns.json").read_text("utf-8")
)
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


# what Oniguruma means, where other engines mean something else
@pytest.mark.parametrize(
    ("pattern", "text"),
    [
        *(
            (r"\p{N}{1,3}+", "1234567"),
            ("[0-9]{3}+", "1234567"),
            ("a{,2}", "aaa"),
            ("a{2}?", "aaa"),
        ),
        *((r"[\W]+", "a ² b"), (r"[^\Wx]+", "ﬁ ½ ²"), (r"\p{Word}+", "a b"), (r"\h+", "12fg")),
        *(("(?i:ss|k)", "ß ss ẞ \u212a"), ("(?i)straße", "STRASSE Straẞe"), ("(?i:[ß])", "ss ß")),
        *(("(?i:[^ß])", "ss ß"), ("(?i)fi", "ﬁ FI"), ("a(?i)b|c", "aB aC C"), ("(?m:a.)", "a\na")),
        *(("[[:alpha:]]+", "ab1"), ("[[:^alpha:]a]+", "ab1"), ("[[:punct:]]+", "a+.b")),
        *(("[a-w&&[^c-g]]+", "abcdef"), (r" ?[^(\s|[.,!?])]+", "a, b"), ("[a&&b]", "ab&")),
        *((r"[]a]", "]a"), ("[a-]", "a-b"), (r"[\d\-x]+", "1-x"), ("{,}x{", "{,}x{")),
        *((r"\G\d", "12a3"), (r"(a|b)\1*", "aab"), (r"(?i)(ß)\1", "ßss"), (r"\R", "\r\n\n\v")),
        *(
            ("^", "a\nb\n"),
            ("$", "a\nb\n"),
            (r"\b", "a b"),
            (r"\Z", "a\n"),
            ("x*", "axxb"),
            ("a{2}?", "aaa"),
        ),
        *(("a**", "aab"), ("(?:|a)*b", "aab"), ("(a?b??)*", "abba"), ("(?:a*)+?", "aab")),
        ("a{2}?", "aaa"),
        *(("(?<=ab|b)c", "abcbc"), ("(?<=a+)b", "aab"), ("(?<!a)b", "abb"), ("(?>a|ab)c", "abac")),
        *((r"\x{1F600}\u00e9\x41\t\.\/", "😀éA\t./"), ("(a)(b)?", "xaby"), (r"\s+$", "a \nb ")),
    ],
)
def test_means_what_oniguruma_means(pattern: str, text: str) -> None:
    expected = [piece for piece, _ in oracle(pattern).pre_tokenize_str(text)]
    assert isolating_splitter((pattern,))(text) == expected


@pytest.mark.parametrize("pattern", PUBLIC_PATTERNS)
@settings(deadline=None, max_examples=20)
@given(text=TEXT)
def test_patterns_of_public_tokenizers(pattern: str, text: str) -> None:
    ours = UnicodeRegex(pattern)
    expected = [piece for piece, _ in oracle(pattern).pre_tokenize_str(text)]
    assert [piece for piece in ours.split(text) if piece] == expected


@pytest.mark.parametrize("pattern", PUBLIC_PATTERNS)
def test_patterns_of_public_tokenizers_are_matched_by_re(pattern: str) -> None:
    assert UnicodeRegex(pattern).is_quick()


@pytest.mark.parametrize(
    "pattern",
    [
        *("(a|a)*b", "(?:a|aa)*b", "(a+)+b", "(a*)*b", "(?:a{1,3}){1,3}b"),
        *("a*a*a*a*b", "(?=(a|aa)*b)a", "(?>(a|aa)*b)", "(?:(?:a|ab)*c|a)", r"(\w+|a)+ b"),
    ],
)
def test_patterns_with_many_ways_take_linear_time(pattern: str) -> None:
    start = time.perf_counter()
    assert "".join(UnicodeRegex(pattern).split("a" * 2000)) == "a" * 2000
    assert time.perf_counter() - start < 5


@pytest.mark.parametrize("pattern", ["[^z]*z", "(?:a| )+b", "(?m:.)*?b", r"(?m).*\zb"])
def test_loops_over_words_and_spaces_take_linear_time(pattern: str) -> None:
    start = time.perf_counter()
    assert "".join(UnicodeRegex(pattern).split("a " * 10_000)) == "a " * 10_000
    assert time.perf_counter() - start < 5


@pytest.mark.parametrize("pattern", [r"(a*)(a*)(a*)\1\2\3b", "(?:a{1,40}){1,40}b"])
def test_matching_stops_after_a_number_of_steps(pattern: str) -> None:
    with pytest.raises(TokenizerError, match="takes too long for a text of 500 characters"):
        UnicodeRegex(pattern).split("a" * 500)


@pytest.mark.parametrize(
    ("pattern", "why"),
    [
        *((r"\p{Nope}", "'Nope' is not known"), (r"\p{L", "'}' is missing"), (r"\pL", "braces")),
        *(("[a", "ends too early"), ("(", "has no"), ("a)", "has no"), ("\\", "ends too early")),
        *(("*a", "nothing that '[*]' could repeat"), ("^*", "cannot be repeated")),
        *((r"\X", "X is not supported"), (r"a\K", "K is not supported"), (r"\012", "0 is not")),
        *((r"\xzz", "no code point"), (r"\x{110000}", "no code point"), (r"\xe9", "takes any")),
        *(("[b-a]", "range b-a is empty"), ("[[:nope:]]", "nope"), (r"[\d-a]", "begins with a")),
        *(
            (r"\2(a)", "group that"),
            (r"(?<n>a)\1", "has a name"),
            (r"\k<n>", "k is not"),
            (r"(a|b\1)", "1 is not supported"),
            ("(a?){2}", "so often"),
        ),
        *(("(?~a)", "absent groups"), ("(?(1)a)", "conditions"), ("(?x: a)", "option 'x'")),
        *(
            ("(?#c)", "comments"),
            ("a{100001}", "too great"),
            ("(" * 99, "nested too deeply"),
            ("a" * 5001, "more than 5000"),
        ),
        *(("(?:(?:a{100}){100}){100}(b|bb)*c", "too large"), (r"\cA", "c is not supported")),
    ],
)
def test_patterns_that_cannot_be_used(pattern: str, why: str) -> None:
    with pytest.raises(TokenizerError, match=f"cannot be used: .*{why}"):
        UnicodeRegex(pattern)


def test_the_file_of_a_pattern_that_cannot_be_used_is_named_with_its_place() -> None:
    node = Node({"pattern": {"Regex": r"\X"}, "content": ""}, "normalizer")
    with pytest.raises(TokenizerError, match=r"in normalizer\.pattern of the tokenizer\.json"):
        Replacement(node, "normalizer")


def test_unknown_rule_names_what_is_known() -> None:
    with pytest.raises(TokenizerError, match=r"'new-one'.*smollm"):
        gguf_pre_tokenizers.gguf_pre_tokenizer("new-one")
