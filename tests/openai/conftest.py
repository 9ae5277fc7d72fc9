"""A small engine, and one whose answers are written in advance."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from gguf_files import write_tiny_llama
from scripted_answers import Script

from oxillama_web import EngineConfig, InferenceEngine, SamplerConfig
from oxillama_web.inference.generation import GenerationEvent
from oxillama_web.openai import OpenAI
from oxillama_web.openai.conversations import Conversations

CHAT_TEMPLATE = (
    "{% for m in messages %}<{{ m.role }}>{{ m.content }}"
    "{% for c in m.tool_calls or [] %}{{ c.function.arguments | tojson }}{% endfor %};"
    "{% endfor %}{{ tools | tojson if tools else '' }}"
)


@pytest.fixture(scope="session")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[InferenceEngine]:
    path = tmp_path_factory.mktemp("openai") / "tiny.gguf"
    write_tiny_llama(path, context_length=2048, chat_template=CHAT_TEMPLATE)
    config = EngineConfig(model_path=str(path), num_threads=1, sampler=SamplerConfig.greedy())
    engine = InferenceEngine(config)
    engine.load_model()
    engine.tokenizer.eog_ids = frozenset()
    yield engine
    engine.close()


@pytest.fixture
def client(engine: InferenceEngine) -> OpenAI:
    return OpenAI(engine)


@pytest.fixture
def scripted(engine: InferenceEngine, monkeypatch: pytest.MonkeyPatch) -> Script:
    script = Script(["ok"])

    def answer(self, tokens, max_tokens, usage, **options):
        script.prompt = engine.tokenizer.decode(tokens, skip_special=False)
        script.options = {"max_tokens": max_tokens, **options}
        for number, piece in enumerate(script.pieces, 1):
            usage.completion += 1
            yield GenerationEvent("decode", piece, 5, number, 99)
        yield GenerationEvent("decode", "", None, len(script.pieces), 99, script.finish_reason)

    monkeypatch.setattr(Conversations, "answer", answer)
    monkeypatch.setattr(engine.tokenizer, "eog_ids", frozenset({2}))
    return script
