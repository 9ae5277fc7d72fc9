"""Ctrl-C, or any other exception, at any line: a conversation's cache and tokens still agree."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import Any

import pytest
from architecture_files import write_case
from gguf_files import write_tiny_llama

import oxillama_web
from oxillama_web import (
    Conversation,
    Drafter,
    EngineConfig,
    InferenceEngine,
    PromptLookup,
    SamplerConfig,
)

GREEDY = SamplerConfig.greedy()
HOT = SamplerConfig(temperature=1.5, top_k=0, top_p=1.0, seed=3)
PACKAGE = str(Path(oxillama_web.__file__).parent)
# Lines of these hold locks, or change what a conversation is.
FOLDERS = (f"{PACKAGE}/inference/", f"{PACKAGE}/backends/")
PROMPT = [3, 9, 4, 20, 11, 7, 9, 4, 20, 11, 7, 9]
# of each scenario
N_INTERRUPTS = 60

Scenario = Callable[[Conversation], Any]


class Interrupt:
    """Raises KeyboardInterrupt at the nth line that runs inside of the package; counts lines."""

    def __init__(self, at: int | None = None) -> None:
        self.n_lines, self._at = 0, at

    def __enter__(self) -> Interrupt:
        sys.settrace(self._trace)
        return self

    def __exit__(self, *_: object) -> None:
        sys.settrace(None)

    def _trace(self, frame: FrameType, event: str, _: object) -> Any:
        if not frame.f_code.co_filename.startswith(FOLDERS):
            return None
        if event == "line":
            self.n_lines += 1
            if self.n_lines == self._at:
                raise KeyboardInterrupt
        return self._trace


@pytest.fixture(scope="module", params=["llama", "lfm2"])
def engine(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> InferenceEngine:
    """One with keys and values, and one with recurrent states too."""
    path = tmp_path_factory.mktemp("models") / "model.gguf"
    write_case(path, request.param, "Q8_0")
    return load(path)


@pytest.fixture(scope="module")
def shifting(tmp_path_factory: pytest.TempPathFactory) -> InferenceEngine:
    path = tmp_path_factory.mktemp("models") / "llama.gguf"
    write_tiny_llama(path)
    return load(path, context_size=24, context_full="shift", context_keep=2)


def load(path: Path, **config: object) -> InferenceEngine:
    engine = InferenceEngine(
        EngineConfig(str(path), num_threads=1, executor="kernels", prefill_chunk_size=5, **config)
    )
    engine.load_model()
    engine.tokenizer.eog_ids = frozenset()
    return engine


def go_back(conversation: Conversation) -> None:
    conversation.truncate(8)
    conversation.forward_one(5)
    conversation.reset()
    conversation.prefill([4, 5, 6])


def save_and_restore(conversation: Conversation) -> None:
    snapshot = conversation.kv_snapshot()
    conversation.generate([5], 2, sampler=GREEDY)
    conversation.kv_restore(snapshot)
    conversation.fork().generate([6], 2, sampler=GREEDY)


SCENARIOS: dict[str, Scenario] = {
    "answer": lambda c: c.generate([30, 31, 32], 6, sampler=HOT),
    "stop string": lambda c: c.generate([5], 12, sampler=HOT, stop=["q", "th", "ing the"]),
    "log-probabilities": lambda c: c.generate([5], 4, sampler=HOT, logprobs=2),
    "speculation": lambda c: c.generate([4], 8, sampler=GREEDY, speculation=PromptLookup(3, 2, 1)),
    "whole prompt": lambda c: list(c.prompt_events([*PROMPT, 8, 9], 4, sampler=GREEDY)),
    "go back": go_back,
    "save and restore": save_and_restore,
}


def after_prompt(engine: InferenceEngine) -> Conversation:
    conversation = engine.conversation()
    conversation.generate(PROMPT, 3, sampler=GREEDY)
    return conversation


def check_agreement(engine: InferenceEngine, conversation: Conversation, place: int) -> None:
    """Compare the next tokens and logits with those of a fresh conversation over its tokens."""
    text = conversation.tokens + conversation.pending
    assert conversation.sequence.cache.length <= len(conversation.tokens), place
    prompt = [] if text else [7]
    answer = tokens_of(conversation, prompt)
    fresh = engine.conversation()
    assert answer == tokens_of(fresh, text + prompt), place
    assert bytes(conversation.logits) == bytes(fresh.logits), place


def tokens_of(conversation: Conversation, prompt: list[int], n_tokens: int = 3) -> list[int]:
    events = conversation.events(prompt, n_tokens, sampler=HOT)
    return [event.token for event in events if event.token is not None]


@pytest.mark.parametrize("name", SCENARIOS)
def test_an_interrupted_conversation_is_consistent(engine: InferenceEngine, name: str) -> None:
    scenario, conversation = SCENARIOS[name], after_prompt(engine)
    with Interrupt() as whole:
        scenario(conversation)
    places = range(1, whole.n_lines, max(whole.n_lines // N_INTERRUPTS, 1))
    n_interrupted = 0
    for place in places:
        conversation = after_prompt(engine)
        try:
            with Interrupt(place):
                scenario(conversation)
        except KeyboardInterrupt:
            n_interrupted += 1
        check_agreement(engine, conversation, place)
    # the second time, caches save some of the last lines
    assert n_interrupted > 0.9 * len(places)


def test_an_interrupted_shift_leaves_the_cache_with_the_tokens(shifting: InferenceEngine) -> None:
    """A shifted cache gives other numbers than a fresh one, so its tokens are counted."""
    conversation = after_prompt(shifting)
    with Interrupt() as whole:
        conversation.generate([5], 14, sampler=HOT)
    for place in range(1, whole.n_lines, max(whole.n_lines // N_INTERRUPTS, 1)):
        conversation = after_prompt(shifting)
        with pytest.raises(KeyboardInterrupt), Interrupt(place):
            conversation.generate([5], 14, sampler=HOT)
        text = conversation.tokens + conversation.pending
        assert text[:2] == PROMPT[:2], place
        assert len(tokens_of(conversation, [])) == 3, place
        n_tokens = len(conversation.tokens)
        assert conversation.sequence.cache.length == n_tokens, place
        if len(text) + 2 == n_tokens:
            assert conversation.tokens[: len(text)] == text, place


class Failing(Drafter):
    """Fails after some calls, as a caller's class may."""

    def __init__(self, n_calls: int) -> None:
        self.n_calls = n_calls

    def propose(self, tokens: list[int], max_draft: int) -> list[int]:
        self.n_calls -= 1
        if not self.n_calls:
            raise MemoryError("no room for guesses")
        return [1, 1][:max_draft]


def test_a_failure_of_a_callers_class_costs_no_token_that_was_given(
    engine: InferenceEngine,
) -> None:
    whole = tokens_of(after_prompt(engine), [5], 6)
    for n_calls in (1, 2, 3):
        conversation, given = after_prompt(engine), []
        with pytest.raises(MemoryError):
            for event in conversation.events([5], 6, sampler=HOT, speculation=Failing(n_calls)):
                given += [event.token] if event.token is not None else []
        text = conversation.tokens + conversation.pending
        assert given == whole[: len(given)]
        assert text[-1 - len(given) :] == [5, *given]
        check_agreement(engine, conversation, n_calls)
