"""Tokenizer files that lie: tokenizer.json with parts of a wrong type, size or order.

Some cases change a file here and there, some have a part of the file made anew, with strange
patterns and normalizers that make texts grow, and some are not even JSON.
"""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from functools import cache
from typing import Any, NamedTuple

from fuzzing import Fuzzer
from mutations import mutated
from tokenizer_families import FAMILIES

from oxillama_web.errors import TokenizerError
from oxillama_web.tokenizer import Tokenizer, load_tokenizer_json

TEXTS = [
    "",
    "Hello, world! It's 12345 o'clock.",
    "<s> word <mask>\n\n\tÉé ﬁ ½ 漢字かな한국 👩\u200d👧 \ud800 ▁▁x</s><pad>",
    "a" * 3000,
    " " * 1000 + "\n" + "0" * 1000,
    "def f(x):\n    return [x for x in range(10)]\n" * 20,
]


class Case(NamedTuple):
    """A file, and whether the package `tokenizers` may encode with it."""

    file: str | bytes
    use_library: bool


def make(chance: random.Random) -> Case:
    """Return a file that is broken in some way."""
    spec = json.loads(chance.choice(_files()))
    if chance.random() < 0.4:
        part = chance.choice(list(_PARTS))
        spec[part] = _PARTS[part](chance, 3)
        spec = mutated(spec, chance, chance.choice((0, 0, 1)))
    else:
        spec = mutated(spec, chance, chance.choice((1, 1, 2, 4)))
    file: str | bytes = json.dumps(spec, ensure_ascii=chance.random() < 0.5)
    if chance.random() < 0.05:
        at = chance.randrange(len(file))
        file = file[:at] + chance.choice(["", '"', "\\ud800", "1e999", "NaN", "[", "}"]) + file[at:]
    if chance.random() < 0.05:
        file = file.encode("utf-8", "surrogatepass")[: chance.randrange(1, len(file))]
    return Case(file, chance.random() < 0.5)


def use(case: Case) -> None:
    """Load a file, encode and decode."""
    tokenizer = load_tokenizer_json(case.file, use_library=case.use_library)
    all_ids = range(min(tokenizer.n_vocab, 2000))
    for parse_special in (True, False):
        for text in TEXTS:
            _check(tokenizer, tokenizer.encode(text, None, parse_special))
    _check(tokenizer, list(all_ids))
    for token in all_ids:
        tokenizer.token_bytes(token)


def _check(tokenizer: Tokenizer, ids: list[int]) -> None:
    assert all(type(token) is int and 0 <= token < tokenizer.n_vocab for token in ids)
    decoder = tokenizer.stream_decoder()
    pieces = [decoder.push(token) for token in ids]
    assert "".join(pieces) + decoder.finish() == tokenizer.decode(ids)
    tokenizer.decode(ids, skip_special=False).encode()


@cache
def _files() -> list[str]:
    return [family().to_str() for family in FAMILIES]


# parts made anew; `depth` is how far sequences may nest


def _normalizer(chance: random.Random, depth: int) -> dict[str, Any]:
    kind = chance.choice(
        "Sequence Sequence Replace Replace Prepend Strip NFC NFKD Lowercase StripAccents Nmt "
        "BertNormalizer ByteLevel Precompiled".split()
    )
    spec: dict[str, Any] = {"type": kind}
    if kind == "Sequence":
        spec["normalizers"] = _steps(chance, depth, _normalizer)
    elif kind == "Replace":
        spec |= {"pattern": _pattern(chance), "content": _content(chance)}
    elif kind == "Prepend":
        spec["prepend"] = _content(chance)
    elif kind == "Strip":
        spec |= {"strip_left": chance.random() < 0.5, "strip_right": True}
    elif kind == "Precompiled":
        spec["precompiled_charsmap"] = chance.choice(("", "AAAA", "AAQAAAAAAAAA", None))
    return spec


def _pre_tokenizer(chance: random.Random, depth: int) -> dict[str, Any]:
    kind = chance.choice(
        "Sequence Split Split Split ByteLevel Digits Metaspace Whitespace WhitespaceSplit "
        "Punctuation BertPreTokenizer CharDelimiterSplit".split()
    )
    spec: dict[str, Any] = {"type": kind}
    if kind == "Sequence":
        spec["pretokenizers"] = _steps(chance, depth, _pre_tokenizer)
    elif kind == "Split":
        spec |= {"pattern": _pattern(chance), "invert": chance.random() < 0.3}
        spec["behavior"] = chance.choice(
            "Removed Isolated MergedWithPrevious MergedWithNext Contiguous".split()
        )
    elif kind == "Metaspace":
        spec |= {"replacement": chance.choice(("▁", "_", "", "ab")), "prepend_scheme": "first"}
    elif kind == "CharDelimiterSplit":
        spec["delimiter"] = chance.choice((" ", "", "ab"))
    return spec


def _decoder(chance: random.Random, depth: int) -> dict[str, Any]:
    kind = chance.choice(
        "Sequence Replace Replace ByteLevel ByteFallback Fuse Strip Metaspace WordPiece CTC "
        "BPEDecoder".split()
    )
    spec: dict[str, Any] = {"type": kind}
    if kind == "Sequence":
        spec["decoders"] = _steps(chance, depth, _decoder)
    elif kind == "Replace":
        spec |= {"pattern": _pattern(chance), "content": _content(chance)}
    elif kind == "Strip":
        spec |= {"content": chance.choice((" ", "", "ab")), "start": chance.choice((0, 1, 1 << 70))}
        spec["stop"] = chance.choice((0, 1, -1))
    return spec


def _steps(
    chance: random.Random, depth: int, step: Callable[[random.Random, int], dict[str, Any]]
) -> list[dict[str, Any]]:
    """The steps of a sequence: none, a few, or the same few many times."""
    n = chance.choice((0, 1, 2, 3, 40)) if depth else 0
    return [step(chance, depth - 1) for _ in range(min(n, 3))] * (1 + n // 3)


_PARTS = {"normalizer": _normalizer, "pre_tokenizer": _pre_tokenizer, "decoder": _decoder}


def _content(chance: random.Random) -> str:
    return chance.choice(("", " ", "▁", "aa", "aaaa", "\\1", "é", "a" * 3000, "x" * 300_000))


def _pattern(chance: random.Random) -> dict[str, str]:
    if chance.random() < 0.3:
        return {"String": chance.choice(("", " ", "a", "aa", "▁", "\n", "é"))}
    return {"Regex": _regex(chance, 2)}


def _regex(chance: random.Random, depth: int) -> str:
    """Return a random pattern, often a broken one."""
    if depth == 0 or chance.random() < 0.2:
        return chance.choice(_ATOMS)
    inner = _regex(chance, depth - 1)
    other = _regex(chance, depth - 1)
    return chance.choice(_SHAPES).replace("X", inner).replace("Y", other)


_ATOMS = r"a b \s \p{L} \p{N} . [^a] [\W\d] \w \h [a-f&&[^b]] [[:alpha:]] \G ^ $ \b é ß ss".split()
_SHAPES = (
    r"X|Y XY X+ X? X{2,5} X{3}+ (?=X)Y (?!X)Y (?<=X)Y (?>X)Y X++Y X+?Y (?i:X) (X)\1 (X|X)*b X*X*b "
    r"(?:X{1000}){1000}"
).split()

FUZZER = Fuzzer(make, use, (TokenizerError,))
