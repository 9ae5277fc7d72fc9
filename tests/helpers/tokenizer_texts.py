"""Texts that tell tokenizers apart: words, code, scripts, emoji, runs, and Unicode's corners."""

from __future__ import annotations

import random
from collections.abc import Sequence

WORDS = (
    "the of and to in is you that it was on are with his they have from word but what all were "
    "your can said there use each which she their will other about many then them some would make "
    "like him into time look write number people water been call find long down day did get come"
).split()
MARKS = [*".,!?;:-–—()[]{}'\"“”’`/\\@#$%^&*+=<>|~_«»。、！？", "..."]
SPACES = [
    *([" "] * 6 + ["  ", "   ", "    ", "\t", "\n", "\n\n", "\r\n", " \n", "\n  ", "\t\t"]),
    *("\xa0", "\u3000", "\u2003", "\u200b", "\x0b", "\x0c", "\x85", "\u2028"),
]
CONTRACTIONS = ["'s", "'S", "'t", "'re", "'RE", "'ve", "'m", "'ll", "'LL", "'d", "’s", "n't", "'ſ"]
CORNERS = (
    "\x00\x01\x1b\x7f\xad\u0301\u0345\u0130\u0131ſßẞŉǰΐΣσςǅﬁ½²³Ⅷⅷ①㎏\u212b\u1e9b\u0323\u0f73\u0958"
    "\u1100\u1161\u11a8가\u3099が\ufe0f\u200c\u200d\u202e\u2060\ufeff\ufffd\uffff\ue000\U000e0001"
    "\U00010400\U0001d400\U00020000\U0002f800\U0001f1e6\U0001f3fb٠०๕߁𝟘▁Ġ"
)
EMOJI = [
    *(
        "😀",
        "👍🏽",
        "👩\u200d👩\u200d👧\u200d👦",
        "🏳\ufe0f\u200d🌈",
        "🇩🇪",
        "❤\ufe0f",
        "1\ufe0f\u20e3",
    ),
    *("🧑🏿\u200d🚀", "☺", "🤷🏽\u200d♀\ufe0f"),
]
SCRIPTS = [
    *((0x41, 0x24F), (0x370, 0x52F), (0x590, 0x6FF), (0x900, 0x9FF), (0xE00, 0xE7F)),
    *((0x10A0, 0x137F), (0x1E00, 0x1FFF), (0x2000, 0x2BFF), (0x3040, 0x30FF)),
    *((0x4E00, 0x9FFF), (0xAC00, 0xD7A3)),
]
CODE = [
    "def f(self, x: int) -> None:\n    return x[1:] + 0x1F\n",
    "for (int i = 0; i < n; ++i) {\n\t\tsum += a[i];\n}\n",
    "SELECT * FROM t WHERE id=1;--",
    '<div class="a">&nbsp;</div>',
    "camelCase snake_case XMLHttpRequest2 kebab-case",
    '{"a": [1, 2.5e-3, null]}',
    "\\frac{a}{b}^2",
    "C:\\Users\\x user.name@mail $ ls | grep '\\.py$'",
]


def texts(count: int, special: Sequence[str]) -> list[str]:
    """Always the same texts; `special` are names of tokens to be found inside of some."""
    chance = random.Random(1)
    return [_text(chance, special) for _ in range(count)]


def _text(chance: random.Random, special: Sequence[str]) -> str:
    n = chance.randint(1, 25)
    kind = chance.randrange(8)
    if kind < 2:
        words = (chance.choice((word, word.title(), word.upper())) for word in WORDS)
        ends = SPACES[:8] + MARKS[:6]
        return "".join(word + chance.choice(ends) for word in chance.sample(list(words), n))
    if kind == 2:
        script = chance.choice(SCRIPTS)
        return "".join(
            chance.choice((chr(chance.randint(*script)),) * 6 + (" ",)) for _ in range(n)
        )
    if kind == 3:
        return "".join(chance.choices(CODE, k=2))
    if kind == 4:
        codes = (chance.randrange(chance.choice((0x3000, 0x110000))) for _ in range(n))
        return "".join(chr(code) for code in codes if not 0xD800 <= code < 0xE000)
    if kind == 5:
        return chance.choice(SPACES) * (3 * n) + "x" + chance.choice(" \n\t-=_*.#a0é") * (4 * n)
    if kind == 6:
        return "".join(str(chance.randrange(10**8)) + chance.choice(" .,-+") for _ in range(n))
    pools = (WORDS, MARKS, SPACES, CONTRACTIONS, CORNERS, EMOJI, special)
    return "".join(chance.choice(chance.choice(pools)) for _ in range(n))
