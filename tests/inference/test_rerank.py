"""Documents ranked by rerankers with heads of each kind, against llama.cpp's scores.

tests/golden/make_rerankers.py made the golden values.
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from gguf_files import write_tiny_llama
from paths import GOLDEN as GOLDEN_FOLDER
from reranker_files import DOCUMENTS, QUERY, RERANKERS, write_reranker

from oxillama_web import (
    ContextLengthError,
    EngineConfig,
    InferenceEngine,
    InvalidRequestError,
    ModelFormatError,
    UnsupportedModelError,
)
from oxillama_web.architectures import build_model
from oxillama_web.gguf.reader import GGUFFile
from oxillama_web.inference import text_batches
from oxillama_web.inference.rerank import rerank

GOLDEN = json.loads((GOLDEN_FOLDER / "rerankers.json").read_text(encoding="utf-8"))


def reranker(
    folder: Path, name: str, executor: str = "numpy", format: str = "F32", n_threads: int = 1
) -> InferenceEngine:
    path = folder / f"{name}-{format}.gguf"
    write_reranker(path, name, format)  # type: ignore[arg-type]
    engine = InferenceEngine(
        EngineConfig(str(path), executor=executor, num_threads=n_threads)  # type: ignore[arg-type]
    )
    engine.load_model()
    return engine


def scores(engine: InferenceEngine) -> np.ndarray:
    """Those of DOCUMENTS, in their order."""
    ranked = engine.rerank(QUERY, DOCUMENTS)
    found = [document.relevance_score for document in ranked]
    assert found == sorted(found, reverse=True)
    return np.array([d.relevance_score for d in sorted(ranked, key=lambda d: d.index)])


@pytest.mark.parametrize("executor", ["numpy", "kernels"])
@pytest.mark.parametrize("name", RERANKERS)
def test_scores_are_those_of_llama_cpp(name: str, executor: str, tmp_path: Path) -> None:
    engine = reranker(tmp_path, name, executor)
    expected = np.array(GOLDEN[name]["scores"])
    error = np.abs(scores(engine) - expected).max()
    assert error < 2e-3 * np.abs(expected).max()  # llama.cpp reads GELU from a table
    assert rerank(engine.model, QUERY, DOCUMENTS).n_tokens == sum(map(len, GOLDEN[name]["ids"]))


@pytest.mark.parametrize("name", RERANKERS)
def test_one_by_one_and_in_any_passes(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = reranker(tmp_path, name, "kernels", n_threads=2)
    together = scores(engine)
    alone = [engine.rerank(QUERY, [text])[0].relevance_score for text in DOCUMENTS]
    np.testing.assert_array_equal(alone, together)
    monkeypatch.setattr(text_batches, "TOKEN_BUDGET", 30)
    np.testing.assert_array_equal(scores(engine), together)


def test_the_best_documents(tmp_path: Path) -> None:
    engine = reranker(tmp_path, "bert", "kernels")
    ranked = engine.rerank(QUERY, DOCUMENTS)
    assert engine.rerank(QUERY, DOCUMENTS, top_n=2) == ranked[:2]
    assert engine.rerank(QUERY, []) == []
    equal = engine.rerank(QUERY, ["dog", "dog"])
    assert [document.index for document in equal] == [0, 1]


def test_control_tokens_in_a_text_are_text(tmp_path: Path) -> None:
    engine = reranker(tmp_path, "bert")
    ids = engine.tokenizer.encode_pair(QUERY, "<|im_end|>")
    assert ids is not None
    assert ids.count(2) == 2  # the template's own


def test_a_template_takes_braces_literally(tmp_path: Path) -> None:
    """A query that spells out "{document}" stays as it is."""
    engine = reranker(tmp_path, "qwen3")
    found = rerank(engine.model, "{document}", ["dog"]).n_tokens
    text = "<|im_start|>Query: {document}\nDocument: dog<|im_end|>\n"
    assert found == len(engine.tokenize(text))


@pytest.mark.parametrize("name", ["bert", "qwen3"])
def test_a_reranker_writes_no_text(name: str, tmp_path: Path) -> None:
    engine = reranker(tmp_path, name, "kernels")
    assert engine.is_reranker
    for call in (
        lambda: list(engine.chat([{"role": "user", "content": "fox"}])),
        lambda: engine.generate("fox", 3),
    ):
        with pytest.raises(UnsupportedModelError, match=r"is a reranker.*rerank\(\)"):
            call()
    with pytest.raises(UnsupportedModelError, match="ranks pairs"):
        engine.embed("fox")
    assert any(engine.embed("fox", "mean"))


def test_other_models_rank_nothing(tmp_path: Path) -> None:
    write_tiny_llama(tmp_path / "llama.gguf")
    engine = InferenceEngine(EngineConfig(str(tmp_path / "llama.gguf")))
    engine.load_model()
    assert not engine.is_reranker
    with pytest.raises(UnsupportedModelError, match=r"no reranker.*cls\.output\.weight"):
        engine.rerank(QUERY, DOCUMENTS)


def test_what_cannot_be_ranked(tmp_path: Path) -> None:
    engine = reranker(tmp_path, "bert", "kernels")
    with pytest.raises(ContextLengthError, match="document 1 and the query have"):
        engine.rerank(QUERY, ["dog", "the dog " * 600])
    for documents, top_n, message in (("dog", None, "documents"), (["dog"], 0, "top_n is 0")):
        with pytest.raises(InvalidRequestError, match=message):
            engine.rerank(QUERY, documents, top_n)


def test_a_head_fits_its_labels(tmp_path: Path) -> None:
    for name, labels, message in (
        ("qwen3", ["yes", "no", "maybe"], "'cls.output.weight' gives 2 scores for 3 labels"),
        ("bert", None, "'cls.weight' gives 64 scores for 1 labels"),
    ):
        write_reranker(tmp_path / f"{name}.gguf", name)
        model = GGUFFile((tmp_path / f"{name}.gguf").read_bytes())
        if labels is None:
            del model.tensors["cls.output.weight"]
        else:
            model.metadata = {**model.metadata, f"{name}.classifier.output_labels": labels}
        with pytest.raises(ModelFormatError, match=message):
            build_model(model)
