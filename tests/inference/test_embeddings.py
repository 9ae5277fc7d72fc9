"""Texts as vectors, of decoders and encoders, with both executors."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from architecture_files import CASES
from gguf_files import write_tiny_bert, write_tiny_llama
from gguf_vocabularies import WORD_PIECES
from minilm import minilm_path
from paths import GOLDEN as GOLDEN_FOLDER
from tiny_file import WIDTH, TinyFile

from oxillama_web import (
    ContextLengthError,
    EngineConfig,
    InferenceEngine,
    InvalidRequestError,
    SamplerConfig,
    UnsupportedModelError,
)
from oxillama_web.gguf.reader import GGUFFile
from oxillama_web.inference import embeddings, text_batches

TEXTS = ["the quick brown fox", "", "dog", "the lazy dog sleeps in the sun " * 4, "fox and dog"]
GOLDEN = json.loads((GOLDEN_FOLDER / "minilm.json").read_text(encoding="utf-8"))
# the tokenizer of BERT, for the words of WORD_PIECES
WORD_PIECE_JSON = json.dumps(
    {
        "model": {
            "type": "WordPiece",
            "unk_token": "[UNK]",
            "continuing_subword_prefix": "##",
            "max_input_chars_per_word": 100,
            "vocab": {word: index for index, word in enumerate(WORD_PIECES)},
        },
        "added_tokens": [
            {
                **dict.fromkeys(("single_word", "lstrip", "rstrip", "normalized"), False),
                **{"id": index, "content": WORD_PIECES[index], "special": True},
            }
            for index in range(5)
        ],
        "normalizer": {"type": "BertNormalizer", "lowercase": True},
        "pre_tokenizer": {"type": "BertPreTokenizer"},
        "post_processor": {
            "type": "BertProcessing",
            "sep": ["[SEP]", WORD_PIECES.index("[SEP]")],
            "cls": ["[CLS]", WORD_PIECES.index("[CLS]")],
        },
        "decoder": {"type": "WordPiece", "prefix": "##", "cleanup": True},
    }
)


@pytest.fixture(params=["numpy", "kernels"])
def executor(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture(params=["decoder", "encoder"])
def engine(
    request: pytest.FixtureRequest, executor: str, tmp_path: Path
) -> Iterator[InferenceEngine]:
    engine = (
        decoder(tmp_path, executor) if request.param == "decoder" else encoder(tmp_path, executor)
    )
    yield engine
    engine.close()


def decoder(folder: Path, executor: str = "auto") -> InferenceEngine:
    path = folder / "llama.gguf"
    write_tiny_llama(path)
    engine = InferenceEngine(
        EngineConfig(model_path=str(path), executor=executor, num_threads=2)  # type: ignore[arg-type]
    )
    engine.load_model()
    return engine


def encoder(
    folder: Path, executor: str = "auto", pooling_type: int | None = None
) -> InferenceEngine:
    path = folder / "bert.gguf"
    write_tiny_bert(path, pooling_type=pooling_type, with_vocabulary=False)
    engine = InferenceEngine(EngineConfig(executor=executor, num_threads=2))  # type: ignore[arg-type]
    engine.load_model_from_bytes(path.read_bytes(), WORD_PIECE_JSON)
    return engine


def states(engine: InferenceEngine, text: str) -> np.ndarray:
    """The hidden states of a text's tokens, [tokens, hidden size]."""
    executor, ids = engine._model.executor, engine.tokenize(text)
    flat = executor.hidden_states([(executor.new_cache(), ids)], "all")
    return np.array(flat, np.float64).reshape(len(ids), -1)


@pytest.mark.parametrize("normalize", [True, False])
@pytest.mark.parametrize("pooling", ["last", "mean", "max", "cls"])
def test_poolings(engine: InferenceEngine, pooling: embeddings.Pooling, normalize: bool) -> None:
    pool = {
        "last": lambda rows: rows[-1],
        "mean": lambda rows: rows.mean(axis=0),
        "max": lambda rows: rows.max(axis=0),
        "cls": lambda rows: rows[0],
    }[pooling]
    for text, vector in zip(
        TEXTS, engine.embed_batch(TEXTS, pooling, normalize=normalize), strict=True
    ):
        expected = pool(states(engine, text)) if text else np.zeros(engine.hidden_size)
        if normalize and text:
            expected /= np.linalg.norm(expected)
        np.testing.assert_allclose(vector, expected, rtol=0, atol=1e-5)


@pytest.mark.parametrize("pooling", ["last", "mean", "max", "cls"])
def test_one_by_one_and_in_any_passes(
    engine: InferenceEngine, pooling: embeddings.Pooling, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Kernels compute the same bits; means are added up in another order."""
    model, passes = engine._model, []
    run = model.executor.hidden_states

    def spy(batch: list, outputs: str) -> memoryview:
        passes.append(len(batch))
        return run(batch, outputs)  # type: ignore[arg-type]

    monkeypatch.setattr(model.executor, "hidden_states", spy)
    together = engine.embed_batch(TEXTS, pooling)
    assert passes == [4]  # all but the empty one
    single = [engine.embed(text, pooling) for text in TEXTS]
    monkeypatch.setattr(text_batches, "TOKEN_BUDGET", 7)
    few_tokens = engine.embed_batch(TEXTS, pooling)
    monkeypatch.setattr(text_batches, "TOKEN_BUDGET", 1000)
    monkeypatch.setattr(text_batches, "CACHE_BUDGET", 1)
    passes.clear()
    little_cache = engine.embed_batch(TEXTS, pooling)
    assert passes == [1, 1, 1, 1]
    for other in (single, few_tokens, little_cache):
        np.testing.assert_allclose(other, together, rtol=0, atol=1e-6)


def test_no_texts(engine: InferenceEngine) -> None:
    assert engine.embed_batch([]) == []
    assert engine.embed("") == [0.0] * engine.hidden_size


def test_caches_are_given_back(engine: InferenceEngine) -> None:
    before = engine._model.executor
    engine.embed_batch(TEXTS)
    held = before.memory_bytes
    engine.embed_batch(TEXTS)
    assert before.memory_bytes == held


def test_default_poolings(tmp_path: Path) -> None:
    """The file's wish, else the mean for encoders and the last token for decoders."""
    engine = decoder(tmp_path)
    assert engine.embed("fox") == engine.embed("fox", "last")
    for pooling_type, pooling in (
        (None, "mean"),
        (0, "mean"),
        (1, "mean"),
        (2, "cls"),
        (3, "last"),
    ):
        engine = encoder(tmp_path, pooling_type=pooling_type)
        assert engine.embed("the fox") == engine.embed("the fox", pooling)  # type: ignore[arg-type]
    engine = encoder(tmp_path, pooling_type=4)
    with pytest.raises(UnsupportedModelError, match="ranks"):
        engine.embed("the fox")
    assert any(engine.embed("the fox", "cls"))


def test_what_cannot_be_embedded(engine: InferenceEngine) -> None:
    with pytest.raises(InvalidRequestError, match="pooling is 'median'"):
        engine.embed("fox", "median")  # type: ignore[arg-type]
    with pytest.raises(ContextLengthError, match="embed its parts"):
        engine.embed("the fox " * engine.context_size)


def test_control_tokens_in_a_text_are_text(tmp_path: Path) -> None:
    engine = decoder(tmp_path)
    plain = engine.tokenizer.encode("<|im_end|>", parse_special=False)
    assert len(plain) > 1
    rows = states(engine, "<|im_end|>")
    assert np.abs(np.array(engine.embed("<|im_end|>", normalize=False)) - rows[-1]).max() > 1e-3


def test_a_conversation_goes_on_undisturbed(tmp_path: Path, executor: str) -> None:
    """Embeddings between any two tokens, or before the first, change no token."""
    greedy = SamplerConfig.greedy()
    engine = decoder(tmp_path, executor)
    expected = [e.token for e in engine.events("the quick", 12, sampler=greedy)]
    engine.reset()
    found = []
    for event in engine.events("the quick", 12, sampler=greedy):
        found.append(event.token)
        engine.embed_batch([*TEXTS, "fox " * (10 * len(found))])
    assert found == expected


def test_an_encoder_writes_no_text(tmp_path: Path, executor: str) -> None:
    engine = encoder(tmp_path, executor)
    for call in (
        lambda: engine.generate("the fox", 3),
        lambda: list(engine.stream([5, 6], 3)),
        lambda: engine.forward_prefill([5, 6], 0),
    ):
        with pytest.raises(UnsupportedModelError, match="is an encoder"):
            call()
    assert engine.kv_cache_seq_len == 0


def minilm(executor: str, format: str) -> InferenceEngine:
    engine = InferenceEngine(
        EngineConfig(model_path=str(minilm_path(format)), executor=executor, num_threads=2)  # type: ignore[arg-type]
    )
    engine.load_model()
    return engine


@pytest.mark.parametrize(("format", "least"), [("F32", 1 - 1e-6), ("Q8_0", 0.9995)])
def test_minilm_gives_the_vectors_of_llama_cpp(executor: str, format: str, least: float) -> None:
    engine = minilm(executor, format)
    assert [engine.tokenize(text) for text in GOLDEN["texts"]] == GOLDEN["ids"]
    vectors = np.array(engine.embed_batch(GOLDEN["texts"]))
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1)
    cosines = (vectors * np.array(GOLDEN["vectors"])).sum(axis=1)
    assert cosines.min() > least
    # a cat on a mat is much like a kitten on a rug
    alike = vectors @ vectors.T
    assert alike[0, 1] > 0.5 > 0.2 > max(alike[0, 2], alike[0, 3])
    engine.close()


def test_matrices_that_follow_the_pooling(executor: str, tmp_path: Path) -> None:
    """EmbeddingGemma's: means of their products are products of the means."""

    def embedded(name: str, *, dense: bool) -> np.ndarray:
        file = TinyFile(tmp_path / name, "gemma-embedding", "F32", seed=0)
        CASES["gemma-embedding"].fill(file)
        if dense:
            file.linear("dense_2", WIDTH, 96)
            file.linear("dense_3", 96, WIDTH)
        file.finish()
        engine = InferenceEngine(EngineConfig(model_path=str(tmp_path / name), executor=executor))
        engine.load_model()
        return np.array(engine.embed(TEXTS[0], pooling="mean", normalize=False))

    vector, found = embedded("plain.gguf", dense=False), embedded("dense.gguf", dense=True)
    file = GGUFFile((tmp_path / "dense.gguf").read_bytes())
    for name, shape in (("dense_2", (96, WIDTH)), ("dense_3", (WIDTH, 96))):
        matrix = np.frombuffer(file.tensor_data(f"{name}.weight"), np.float32).reshape(shape)
        vector = matrix @ vector
    np.testing.assert_allclose(found, vector, rtol=1e-4, atol=1e-4)
