"""GBNF against what its texts mean: other ways to match them, and errors."""

from __future__ import annotations

import re
import time

import pytest
from grammar_helpers import accepts, shared_masks
from hypothesis import given, settings
from hypothesis import strategies as st

from oxillama_web import GrammarError
from oxillama_web.grammar.expressions import inverted, merged
from oxillama_web.grammar.gbnf import parse_gbnf
from oxillama_web.grammar.utf8 import byte_sequences

# the arithmetic and the list of llama.cpp's grammars folder
ARITHMETIC = r"""
root  ::= (expr "=" ws term "\n")+
expr  ::= term ([-+*/] term)*
term  ::= ident | num | "(" ws expr ")" ws
ident ::= [a-z] [a-z0-9_]* ws
num   ::= [0-9]+ ws
ws    ::= [ \t\n]*
"""
LIST = r"""
root ::= item+

# Excludes various line break characters
item ::= "- " [^\r\n\x0b\x0c\x85\u2028\u2029]+ "\n"
"""


@pytest.mark.parametrize(
    ("gbnf", "matching", "others"),
    [
        (ARITHMETIC, ["1+2=3\n", "(x*( y))= 7 \n8=9\n"], ["1+=3\n", "1+2=3", "(1=2\n", ""]),
        (LIST, ["- milk\n", "- a\n- 日本 😀\n"], ["milk\n", "- \n", "- a\u2028\n"]),
        ('root ::= "a" | "ab" | "abc" "d"', ["a", "ab", "abcd"], ["abc", "", "b"]),
        ('root ::= a "c"\na ::= "a" | "a" "b"', ["ac", "abc"], ["a", "ab", "bc"]),
        ('root ::= ("a" | "b")? "c"*', ["", "a", "bcc", "cc"], ["ab", "d"]),
        ('root ::= "a"{2} [b]{1,} [c]{0,2} "d"{,1}', ["aab", "aabbccd"], ["ab", "aa", "aabccc"]),
        (r'root ::= "\x41\u00e9\U0001F600\n\t\"\\\[\]"', ['Aé😀\n\t"\\[]'], ["A", "Aé"]),
        (r"root ::= [^a-c\]-]+", ["xyz", "é日😀", "\n["], ["a", "]", "-", ""]),
        ("root ::= [a-]+ .", ["a-x", "--😀"], ["b", "a"]),
        ('root ::=\n  "a" |\n  "b" # a comment\n', ["a", "b"], ["c"]),
        ('root ::= (\n "a"\n | "b"\n)\n', ["a", "b"], [""]),
        ('root ::= "(" root ")" | ""', ["", "()", "(((())))"], ["(", "(()"]),
        ('root ::= "a" root | "b"', ["b", "a" * 3000 + "b"], ["a"]),
        ('root ::= (("a"*)* ("b"?)+)*', ["", "abba"], ["c"]),
        ('root ::= x x\nx ::= "a"*', ["", "aaaa"], ["b"]),
        # a branch without an end is never begun
        ('root ::= "a" | "ab" x\nx ::= "c" x', ["a"], ["ab", "abc"]),
        ('root ::= "a" | []', ["a"], [""]),
        # counted repetitions
        ('root ::= "a"{6,9} "b"', ["a" * 6 + "b", "a" * 9 + "b"], ["a" * 5 + "b", "a" * 10 + "b"]),
        ('root ::= ("a"?){6,9} "b"', ["b", "a" * 9 + "b"], ["a" * 10 + "b"]),
        ('root ::= ("a" | "aa"){6,9}', ["a" * 6, "a" * 18], ["a" * 5, "a" * 19]),
        (
            'root ::= ("a"{5,7} "b"){6,}',
            ["aaaaab" * 6, "aaaaaab" * 60],
            ["aaaaab" * 5, "aaaab" * 6],
        ),
        ('root ::= "[" root{5} "]" | "a"', ["a", "[aaaaa]", "[[aaaaa]aaaa]"], ["[aaaa]"]),
        ('root ::= "a"{0,9} x\nx ::= "b" | []', ["b", "aab"], ["a"]),
        ('root ::= "b" | x{6}\nx ::= "c" x', ["b"], ["cccccc"]),
        ("\ufeffroot ::= [a]", ["a"], ["\ufeffa"]),
        # marks: each at most once while a rule is matched, and what it ends with
        ('root ::= (#once 0\n "a" | #once 1\n "b" | "c")*', ["", "ab", "cbca"], ["aa", "bcab"]),
        (
            'root ::= "[" x "]"\nx ::= (#once 0\n "a" x | #once 1\n "b" x | "[" x "]" x | "")',
            ["[]", "[ba]", "[a[ab]b]"],
            ["[aa]", "[a[b]a]"],
        ),
    ],
)
def test_grammars_match_what_they_say(gbnf: str, matching: list[str], others: list[str]) -> None:
    assert [text for text in matching if not accepts(gbnf, text)] == []
    assert [text for text in others if accepts(gbnf, text)] == []


@pytest.mark.parametrize(
    ("gbnf", "message"),
    [
        ("", "no rule `root`"),
        ('start ::= "a"', "no rule `root`"),
        ("root ::= missing", "'missing'"),
        ('root ::= "a"\nroot ::= "b"', "twice"),
        ('root ::= "a', "no end"),
        ("root ::= [a", "no end"),
        ('root ::= ("a"', "expected )"),
        ('root ::= "a")', "end of the rule"),
        ('root = "a"', "::="),
        ("root ::= [z-a]", "backwards"),
        (r'root ::= "\q"', "unknown escape"),
        (r'root ::= "\ud800"', "no character"),
        ('root ::= "a"{3,2}', "fewer"),
        ('root ::= "a"{}', "expected {n}"),
        ('root ::= "a"{999999999}', "more than 100000 repetitions"),
        ('root ::= ("a"{1000}){1000}', "nodes"),
        ("root ::= " + "(" * 5000 + '"a"' + ")" * 5000, "parentheses"),
        ('root ::= "a"' + "*" * 5000, "repetitions"),
        ('root ::= root "a" | "b"', "left-recursive"),
        ('root ::= a\na ::= b "x"\nb ::= "y"? a | "z"', "left-recursive"),
        ("root ::= root", "ends"),
        ('root ::= "a" root', "ends"),
        ("root ::= []", "ends"),
        ("root ::= *", "end of the rule"),
        ('root ::= (root "a"){5} | "b"', "left-recursive"),
        ('root ::= ("a"?){5} root | "b"', "left-recursive"),
        ('root ::= (#once 0\n "a"){5}', "counted"),
    ],
)
def test_a_wrong_grammar_ends_quickly_in_one_error(gbnf: str, message: str) -> None:
    start = time.process_time()
    with pytest.raises(GrammarError, match=re.escape(message)):
        shared_masks(gbnf)
    assert time.process_time() - start < 5


@pytest.mark.parametrize(
    ("gbnf", "text"),
    [
        ("root ::= " + '("x" ' * 1000 + '"a"' + ")" * 1000, "x" * 1000 + "a"),
        (
            "root ::= r0\n"
            + "".join(f"r{i} ::= r{i + 1}\n" for i in range(6000))
            + 'r6000 ::= "a"',
            "a",
        ),
        ("root ::= " + " | ".join(f'"{i:05d}"' for i in range(6000)), "04711"),
        ("root ::= " + " | ".join(f'"{"a" * i}"' for i in range(1000)), "a" * 555),
        ("root ::= " + " ".join("[a-z]{0,65536}" for _ in range(4)), "a" * 50),
    ],
    ids=["parentheses", "chain", "alternatives", "beginnings", "repetitions"],
)
def test_large_grammars_compile_quickly(gbnf: str, text: str) -> None:
    start = time.process_time()
    assert accepts(gbnf, text)
    assert time.process_time() - start < 5


def test_too_many_ways_to_read_a_text_are_an_error() -> None:
    gbnf = 'root ::= a\na ::= "x" a "y" | "x" a "z" | "x" a a "w" | "q"'
    start = time.process_time()
    with pytest.raises(GrammarError, match="ways"):
        accepts(gbnf, "x" * 100)
    assert time.process_time() - start < 5


@settings(deadline=None)
@given(st.text(alphabet='ro t:=|()[]{}*+?"\\-^a0,.#\n', max_size=60))
def test_any_text_is_a_grammar_or_a_grammar_error(text: str) -> None:
    try:
        shared_masks("root ::= " + text)
    except GrammarError:
        return
    assert parse_gbnf("root ::= " + text)["root"] is not None


RANGES = st.lists(
    st.tuples(st.integers(0, 0x10FFFF), st.integers(0, 0x2000)).map(
        lambda pair: (pair[0], min(pair[0] + pair[1], 0x10FFFF))
    ),
    max_size=4,
).map(merged)


@settings(deadline=None)
@given(RANGES, st.data())
def test_byte_sequences_are_the_utf8_of_the_ranges(
    ranges: tuple[tuple[int, int], ...], data: st.DataObject
) -> None:
    edges = [code + d for pair in ranges for code in pair for d in (-1, 0, 1)]
    codes = [*edges, data.draw(st.integers(0, 0x10FFFF))]
    for code in codes:
        if not 0 <= code <= 0x10FFFF or 0xD800 <= code <= 0xDFFF:
            continue
        encoded = chr(code).encode()
        found = [
            sequence
            for sequence in byte_sequences(ranges)
            if len(sequence) == len(encoded)
            and all(
                low <= byte <= high for byte, (low, high) in zip(encoded, sequence, strict=True)
            )
        ]
        assert len(found) == any(low <= code <= high for low, high in ranges)


@settings(deadline=None)
@given(RANGES)
def test_inverting_ranges_twice_gives_them_again(ranges: tuple[tuple[int, int], ...]) -> None:
    assert inverted(inverted(ranges)) == ranges
    assert merged([*ranges, *inverted(ranges)]) == ((0, 0x10FFFF),)


# the same as a regular expression and as GBNF
Pair = tuple[str, str]
PATTERNS = st.recursive(
    st.sampled_from(
        [("a", '"a"'), ("é", '"é"'), ("😀", '"😀"')] + [(c, c) for c in ("[ab]", "[^a]", "[b-é]")]
    ),
    lambda inner: st.one_of(
        st.tuples(inner, inner).map(lambda p: (p[0][0] + p[1][0], f"{p[0][1]} {p[1][1]}")),
        st.tuples(inner, inner).map(
            lambda p: (f"({p[0][0]}|{p[1][0]})", f"({p[0][1]} | {p[1][1]})")
        ),
        st.tuples(inner, st.sampled_from(["*", "+", "?", "{2}", "{1,2}", "{1,}"])).map(
            lambda p: (f"({p[0][0]}){p[1]}", f"({p[0][1]}){p[1]}")
        ),
    ),
    max_leaves=8,
)


@settings(max_examples=200, deadline=None)
@given(PATTERNS, st.lists(st.text("abcé😀", max_size=6), max_size=8))
def test_regular_grammars_match_what_regular_expressions_match(
    pattern: Pair, texts: list[str]
) -> None:
    regex, gbnf = pattern
    masks = shared_masks("root ::= " + gbnf)
    for text in texts:
        state = masks.matcher.step(masks.matcher.start, text.encode())
        assert (state != 0 and masks.matcher.accepts(state)) == bool(re.fullmatch(regex, text))
