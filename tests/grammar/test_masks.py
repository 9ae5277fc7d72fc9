"""Masks of tokens against reading each token by itself, and draws against exact probabilities."""

from __future__ import annotations

import math
import re
from array import array
from collections import Counter

import numpy as np
import pytest
from grammar_helpers import (
    BYTES,
    LOGITS_OPS,
    PIECES,
    Tokens,
    bits,
    random_answer,
    shared_masks,
)

from oxillama_web import GrammarError, SamplerConfig
from oxillama_web.backends.logits import LogitsOps
from oxillama_web.grammar import Constraint
from oxillama_web.grammar.masks import GrammarMasks
from oxillama_web.sampling import Sampler

JSON = r"""
root ::= value
value ::= object | array | string | number | "true" | "false" | "null"
object ::= "{" ws (pair ("," ws pair)*)? "}" ws
pair ::= string ":" ws value
array ::= "[" ws (value ("," ws value)*)? "]" ws
string ::= "\"" ([^"\\\x00-\x1f] | "\\" (["\\/bfnrt] | "u" [0-9a-fA-F]{4}))* "\"" ws
number ::= "-"? ("0" | [1-9] [0-9]*) ("." [0-9]+)? ([eE] [-+]? [0-9]+)? ws
ws ::= [ \t\n]*
"""
WORDS = 'root ::= ("the " | "th" | "é" | "日本"){1,3} "name"?'


@pytest.fixture(params=LOGITS_OPS)
def logits_ops(request: pytest.FixtureRequest) -> LogitsOps:
    return LOGITS_OPS[request.param]


def allowed(masks: GrammarMasks, state: int, tokens: Tokens) -> set[int]:
    """By reading each token from the state on, on a matcher that has seen nothing else."""
    found = set()
    for token in range(tokens.n_vocab):
        data = tokens.token_bytes(token)
        if token in tokens.eog_ids:
            if masks.matcher.accepts(state):
                found.add(token)
        elif data and masks.matcher.step(state, data):
            found.add(token)
    return found


@pytest.mark.parametrize("gbnf", [JSON, WORDS])
def test_masks_are_what_reading_each_token_tells(logits_ops: LogitsOps, gbnf: str) -> None:
    text = '{"é😀\\u00e9": [1.5e+3, true, {}],\n "a": "日本"}' if gbnf == JSON else "thé日本name"
    masks, fresh = shared_masks(gbnf, PIECES), shared_masks(gbnf, PIECES)
    state, same = masks.matcher.start, fresh.matcher.start
    for byte in text.encode():
        mask = masks.mask(state, logits_ops)
        assert bits(mask.bits) == allowed(fresh, same, PIECES)
        assert mask.listed is None or mask.listed == sorted(bits(mask.bits))
        state = masks.matcher.step(state, bytes([byte]))
        same = fresh.matcher.step(same, bytes([byte]))
    assert masks.matcher.accepts(state)


THINKING = Tokens(
    [b"a", b"b", b"ab", b"<think>", b"</think>", b"", b"\0", b"<mask>"], frozenset({3, 4, 7})
)


# ids: 0 a, 1 b, 2 ab, 3 <think>, 4 </think>, 7 <mask>, 8 <end>
@pytest.mark.parametrize(
    ("gbnf", "steps"),
    [
        (
            'root ::= <think> !</think>* </think> "ab" !<[0]>?',
            [(3, {3}), (7, {0, 1, 2, 3, 4, 7}), (2, {0, 1, 2, 3, 4, 7}), (4, {0, 1, 2, 3, 4, 7}),
             (0, {0, 2}), (1, {1}), (3, {1, 2, 3, 4, 7, 8}), (8, {8})],
        ),
        # a token is matched where one begins, never within one
        ('root ::= "a" <[1]> "b" | "a" "b" "a"', [(0, {0, 2}), (1, {1}), (1, {0, 1})]),
        ('root ::= "a" <[1]> "b" | "a" "b" "a"', [(2, {0, 2}), (0, {0})]),
        # the same token by its text and as itself
        ('root ::= ("ab" <[3]> | <[2]> "a")', [(2, {0, 2}), (3, {0, 3}), (8, {8})]),
        ('root ::= (<[0]> | <[2]>){6} !<[0]>{5,6} x\nx ::= <[7]>',
         [*[(0, {0, 2})] * 6, *[(1, {1, 2, 3, 4, 7})] * 5,
          (3, {1, 2, 3, 4, 7}), (7, {7}), (8, {8})]),
    ],
)  # fmt: skip
def test_references_to_tokens(
    logits_ops: LogitsOps, gbnf: str, steps: list[tuple[int, set[int]]]
) -> None:
    masks = shared_masks(gbnf, THINKING)
    answer = Constraint(masks, logits_ops)
    checked = Constraint(shared_masks(gbnf, THINKING), logits_ops)
    for token, expected in steps:
        # one by one, and by the mask
        for likely in range(THINKING.n_vocab):
            logits = array("f", [float(token == likely) for token in range(THINKING.n_vocab)])
            found = checked.restrict(memoryview(logits), 1)
            assert (found is not None and found[0] == [likely]) == (likely in expected)
        found = answer.restrict(memoryview(array("f", [0.0] * THINKING.n_vocab)), None)
        assert found is not None
        assert set(found[0]) == expected
        answer.advance(token)
        checked.advance(token)


def test_tokens_that_a_grammar_cannot_refer_to() -> None:
    for reference in ("<nope>", "<[99]>", "!<nope>"):
        with pytest.raises(GrammarError, match=f"{re.escape(reference.strip('!'))} of the grammar"):
            shared_masks(f"root ::= {reference}", THINKING)
    with pytest.raises(GrammarError, match="<end> of the grammar ends an answer"):
        shared_masks('root ::= "a" <end>', THINKING)
    for text in ("<think", "!a", "<>", "<[x]>", "<[1>", "! <think>", "<a\n>"):
        with pytest.raises(GrammarError, match="expected a token, as in <think>"):
            shared_masks(f"root ::= {text}", THINKING)


def test_a_finished_grammar_forces_the_end(logits_ops: LogitsOps) -> None:
    masks = shared_masks('root ::= "the"', PIECES)
    end = masks.matcher.step(masks.matcher.start, b"the")
    assert masks.mask(end, logits_ops).listed == sorted(PIECES.eog_ids)
    rng = np.random.default_rng(0)
    assert {random_answer(masks, logits_ops, rng) for _ in range(20)} == {b"the"}


def test_a_vocabulary_that_cannot_write_it_is_an_error(
    logits_ops: LogitsOps,
) -> None:
    tokens = Tokens([b"a", b"b"])
    masks = shared_masks('root ::= "a" "c"', tokens)
    with pytest.raises(GrammarError, match="vocabulary"):
        random_answer(masks, logits_ops, np.random.default_rng(0), tokens)
    sampler = Sampler(
        SamplerConfig(banned_tokens=(0,)), logits_ops, constraint=Constraint(masks, logits_ops)
    )
    with pytest.raises(GrammarError, match="banned"):
        sampler.sample(memoryview(array("f", [1.0, 2.0, 3.0])), ())
    tokens.eog_ids = frozenset()
    with pytest.raises(GrammarError, match="end-of-generation"):
        shared_masks('root ::= "a"', tokens)


CHAINS: list[dict[str, object]] = [
    {"top_k": 5},
    {"top_k": 5, "top_p": 0.7, "temperature": 0.8},
    {"top_k": 0, "top_p": 0.6},
    {"top_k": 0, "min_p": 0.2, "temperature": 1.5},
    {"top_k": 0},
    {"top_k": 300, "banned_tokens": (97, 98)},
]


def exact(chain: dict[str, object], logits: np.ndarray, may: set[int]) -> np.ndarray:
    """The chain over the allowed tokens only, in float64."""
    banned = set(chain.get("banned_tokens", ()))
    logits = np.array([x if i in may - banned else -math.inf for i, x in enumerate(logits)])
    order = np.argsort(-logits, kind="stable")
    keep = order[: int(chain["top_k"]) or len(order)]
    p = np.zeros(len(logits))
    p[keep] = np.exp(logits[keep] - logits.max())
    p /= p.sum()
    if "top_p" in chain:
        n = int(np.searchsorted(np.cumsum(p[order]), chain["top_p"])) + 1
        p[order[n:]] = 0
    if "min_p" in chain:
        p[p < chain["min_p"] * p.max()] = 0
    p = np.where(p > 0, p, 0) ** (1 / float(chain.get("temperature", 1.0)))
    return p / p.sum()


@pytest.mark.parametrize("chain", CHAINS)
def test_draws_have_the_exact_distribution_of_the_allowed_tokens(
    logits_ops: LogitsOps, chain: dict[str, object]
) -> None:
    """Chi-square, where only likely tokens are looked at and where there is a mask."""
    gbnf = 'root ::= ([a-h] | "the" | "日本" | "é"){2} | [^z]{3,4}'
    logits = np.random.default_rng(7).normal(0, 2, PIECES.n_vocab)
    masks = shared_masks(gbnf, PIECES)
    mask = masks.mask(masks.matcher.start, logits_ops)
    may = allowed(shared_masks(gbnf, PIECES), masks.matcher.start, PIECES)
    p = exact(chain, logits, may)
    neutral = {"top_p": 1.0, "temperature": 1.0, "repetition_penalty": 1.0}
    n_draws = 2000
    for has_mask in (False, True):
        counts: Counter[int] = Counter()
        for seed in range(n_draws):
            masks.masks.clear()
            if has_mask:
                masks.masks[masks.matcher.start] = mask
            config = SamplerConfig(**(neutral | chain | {"seed": seed}))
            sampler = Sampler(config, logits_ops, constraint=Constraint(masks, logits_ops))
            counts[sampler.sample(memoryview(array("f", logits.tolist())), ())] += 1
        assert all(p[token] > 0 for token in counts)
        likely = np.flatnonzero(p * n_draws >= 5)
        seen = np.array([counts[token] for token in likely])
        expected = p[likely] * n_draws
        chi_square = float(((seen - expected) ** 2 / expected).sum())
        freedom = max(len(likely) - 1, 1)
        assert chi_square < freedom + 5 * math.sqrt(2 * freedom)


@pytest.mark.parametrize("fields", [{"mirostat": 1}, {"mirostat": 2}, {"typical_p": 0.8}])
def test_every_kind_of_sampler_stays_in_the_grammar(
    logits_ops: LogitsOps, fields: dict[str, object]
) -> None:
    masks = shared_masks(WORDS, PIECES)
    rng = np.random.default_rng(1)
    matcher = masks.matcher
    for _ in range(10):
        answer = random_answer(masks, logits_ops, rng, top_k=0, **fields)
        assert answer is not None
        assert matcher.accepts(matcher.step(matcher.start, answer))


def test_greedy_takes_the_most_probable_allowed_token(
    logits_ops: LogitsOps,
) -> None:
    rng = np.random.default_rng(3)
    masks = shared_masks(JSON, PIECES)
    fresh = shared_masks(JSON, PIECES)
    may = allowed(fresh, fresh.matcher.start, PIECES)
    for _ in range(6):
        logits = rng.normal(0, 2, PIECES.n_vocab)
        sampler = Sampler(
            SamplerConfig.greedy(), logits_ops, constraint=Constraint(masks, logits_ops)
        )
        token = sampler.sample(memoryview(array("f", logits.tolist())), ())
        assert token == max(may, key=lambda t: logits[t])


def test_a_large_matcher_is_replaced_in_the_middle_of_an_answer(
    logits_ops: LogitsOps, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("oxillama_web.grammar.matcher._LARGE", 40)
    masks = shared_masks('root ::= "(" root ")" | "the" | [a-c]{5,40}', PIECES)
    first = masks.matcher
    one, two = Constraint(masks, logits_ops), Constraint(masks, logits_ops)
    for depth in range(30):
        for constraint in (one, two):
            listed = constraint.restrict(memoryview(array("f", [0.0] * PIECES.n_vocab)), None)
            assert listed is not None
            tokens = {PIECES.token_bytes(token) for token in listed[0]}
            assert tokens == {b"(", b"a", b"b", b"c", b"t", b"th", b"the"}, depth
            constraint.advance(ord("("))
    assert masks.matcher is not first
    one.advance(PIECES._tokens.index(b"the"))
    for _ in range(30):
        one.advance(ord(")"))
    listed = one.restrict(memoryview(array("f", [0.0] * PIECES.n_vocab)), None)
    assert listed is not None and listed[0] == sorted(PIECES.eog_ids)


@pytest.mark.parametrize("tokens", [BYTES, PIECES], ids=["bytes", "pieces"])
def test_random_json_is_json(logits_ops: LogitsOps, tokens: Tokens) -> None:
    import json

    rng = np.random.default_rng(11)
    masks = shared_masks(JSON, tokens)
    # ends of things are a little more likely, so that there is an end
    likes = {ord(char): 2.0 for char in '"}]'} | {ord(char): -3.0 for char in "{["}
    answers = [random_answer(masks, logits_ops, rng, tokens, likes=likes) for _ in range(20)]
    finished = [answer for answer in answers if answer is not None]
    assert len(finished) >= 15
    for answer in finished:
        json.loads(answer.decode())
