"""Vocabularies, operations on logits, and answers for the tests of grammars."""

from __future__ import annotations

from array import array

import numpy as np

from oxillama_web import SamplerConfig
from oxillama_web.backends.kernels.library import load_library
from oxillama_web.backends.kernels.logits import KernelLogitsOps
from oxillama_web.backends.logits import LogitsOps
from oxillama_web.backends.numpy.logits import NumpyLogitsOps
from oxillama_web.grammar import Constraint
from oxillama_web.grammar.automaton import build_automaton
from oxillama_web.grammar.gbnf import parse_gbnf
from oxillama_web.grammar.masks import GrammarMasks, Vocabulary
from oxillama_web.sampling import Sampler

LOGITS_OPS: dict[str, LogitsOps] = {
    "numpy": NumpyLogitsOps(),
    "kernels": KernelLogitsOps(load_library()),
}


class Tokens:
    """A tokenizer, as far as a grammar needs one. The last token, <end>, ends an answer."""

    def __init__(self, tokens: list[bytes], control: frozenset[int] = frozenset()) -> None:
        self._tokens = [*tokens, b"<end>"]
        self.n_vocab = len(self._tokens)
        self.eog_ids = frozenset({self.n_vocab - 1})
        self._control = control | self.eog_ids

    def token_bytes(self, token: int) -> bytes:
        return self._tokens[token]

    def is_control(self, token: int) -> bool:
        return token in self._control

    def encode(self, text: str, *_: bool) -> list[int]:
        """Return the token of this text, or none."""
        return [i for i, token in enumerate(self._tokens) if token == text.encode()]


BYTES = Tokens([bytes([byte]) for byte in range(256)])

# every byte, and pieces that cross the parts of JSON and of characters
PIECES = Tokens(
    [bytes([byte]) for byte in range(256)]
    + b'{" ": "," "} "] [" }, }] ], ]} {} [] \\u \\n \\u00 \\ud83d 00 12 .5 e+ -1'.split()
    + "true false null a name id al ue th the é 日本 😀".encode().split()
    + [b'": ', b'", ', b'", "', b', "', b" {", b"  ", b"\n ", b'"\n', b" the"]
    + [b"\xe6\x97", b"\xa5\xe6", b"\xf0\x9f", b"\x98\x80", b'\xa9"', b""]
)


def shared_masks(gbnf: str, tokens: Tokens = BYTES) -> GrammarMasks:
    return GrammarMasks(build_automaton(parse_gbnf(gbnf)), Vocabulary(tokens))


def bits(mask: array[int]) -> set[int]:
    """The tokens whose bits are set."""
    return {32 * i + b for i, word in enumerate(mask) for b in range(32) if word >> b & 1}


def accepts(gbnf: str, text: str | bytes) -> bool:
    """Whether the grammar matches the whole text."""
    matcher = shared_masks(gbnf).matcher
    data = text.encode() if isinstance(text, str) else text
    state = matcher.step(matcher.start, data)
    return state != 0 and matcher.accepts(state)


def random_answer(
    masks: GrammarMasks,
    logits_ops: LogitsOps,
    rng: np.random.Generator,
    tokens: Tokens = PIECES,
    max_tokens: int = 3000,
    likes: dict[int, float] | None = None,
    **fields: object,
) -> bytes | None:
    """Return what random logits write; None if it has no end after `max_tokens`.

    `likes`: added to the logits of some tokens.
    """
    config = SamplerConfig(**({"top_p": 1.0, "repetition_penalty": 1.0, "seed": 5} | fields))
    sampler = Sampler(config, logits_ops, constraint=Constraint(masks, logits_ops))
    answer = b""
    for _ in range(max_tokens):
        logits = rng.normal(0, 2, tokens.n_vocab)
        for token, bonus in (likes or {}).items():
            logits[token] += bonus
        token = sampler.sample(memoryview(array("f", logits.tolist())), ())
        if token in tokens.eog_ids:
            return answer
        answer += tokens.token_bytes(token)
    return None
