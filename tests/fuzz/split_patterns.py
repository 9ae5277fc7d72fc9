"""Random patterns in Oniguruma's syntax: each splits texts as the package `tokenizers` splits them.

Both may refuse a pattern, and the package gives up where it backtracks too much.
"""

from __future__ import annotations

import random
from typing import NamedTuple

from fuzzing import Fuzzer
from tokenizers import Regex
from tokenizers.pre_tokenizers import Split

from oxillama_web.errors import TokenizerError
from oxillama_web.tokenizer.regex import UnicodeRegex

_ATOMS = [
    *"aAbBkKsS1 ²ßſ'-é.^${}]",
    *r"\p{L} \p{Lu} \p{Ll} \p{N} \P{L} \p{^N} \p{Alpha} \p{Han} \s \S \d \w \W \h \H".split(),
    *r"\b \B \A \z \Z \G \R \N \O \n \- \x{e9} \u00df ss fi \1".split(),
    *"(?=a) (?!b) (?<=a) (?<!s) (?<=ab|b) (?<=a+b?)".split(),
]
_MEMBERS = [
    *"aAbBkKsSz1² ßſ-é^&|.(",
    *r"a-f A-Z 1-9 é-ü \w \W \s \d \h \p{L} \P{Lu} \- \] \n && [^a] [b-d]".split(),
    *"[:alpha:] [:^digit:] [:punct:] [:space:] [:upper:] [:lower:] [:word:] [:xdigit:]".split(),
    *"[:graph:] [:print:] [:cntrl:] [:alnum:] [:blank:] [:ascii:]".split(),
]
_QUANTIFIERS = (
    "* + ? *? +? ?? *+ ++ ?+ {2} {1,2} {1,2}? {1,2}+ {2}? {2}+ {2,} {,2} {0} {3,1} {0,1} {1,}?"
).split()
_GROUPS = "( ( (?: (?> (?i: (?m: (?-i: (?= (?! (?:(?i)".split()
_CHARACTERS = [
    *"aAbBkKsS1 ²½ßſẞﬁ'-é.\n\r\t_漢\u0301zfF9\u2028",
    *("ss", "SS", "ab", "  ", "aa", "fi"),
]


class Case(NamedTuple):
    """A pattern, and texts to split by it."""

    pattern: str
    texts: list[str]


def make(chance: random.Random) -> Case:
    """Return a pattern, which may be broken."""
    lengths = [chance.choice((0, 1, 3, 6, 10, 16)) for _ in range(6)]
    texts = ["".join(chance.choices(_CHARACTERS, k=length)) for length in lengths]
    return Case(_pattern(chance, 0), texts)


def use(case: Case) -> None:
    """Split the texts by both."""
    ours = UnicodeRegex(case.pattern)
    try:
        theirs = Split(Regex(case.pattern), "isolated")
    except Exception as error:
        raise TokenizerError(str(error)) from error
    for text in case.texts:
        found = [piece for piece in ours.split(text) if piece]
        try:
            expected = [piece for piece, _ in theirs.pre_tokenize_str(text)]
        except BaseException as error:  # a panic is no Exception
            if type(error).__name__ == "PanicException":
                continue
            raise
        assert found == expected, (case.pattern, text, found, expected)


def _pattern(chance: random.Random, depth: int) -> str:
    pattern = ""
    for _ in range(chance.choice((1, 2, 2, 3, 4) if depth == 0 else (1, 1, 1, 2, 2))):
        pattern += _atom(chance, depth)
        if chance.random() < 0.35:
            pattern += chance.choice(_QUANTIFIERS)
        if chance.random() < 0.05:
            pattern += chance.choice((*_QUANTIFIERS, "|"))
    return pattern


def _atom(chance: random.Random, depth: int) -> str:
    kind = chance.random()
    if kind < 0.5 or depth > 2:
        return chance.choice(_ATOMS)
    if kind < 0.7:
        members = chance.choices(_MEMBERS, k=chance.choice((1, 2, 3, 4)))
        return f"[{chance.choice(('', '', '^'))}{''.join(members)}]"
    branches = [_pattern(chance, depth + 1) for _ in range(chance.choice((1, 2)))]
    return f"{chance.choice(_GROUPS)}{'|'.join(branches)})"


FUZZER = Fuzzer(make, use, (TokenizerError,))
