"""Rankings in the shape of Jina's and Cohere's API."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict

import pytest
from reranker_files import DOCUMENTS, QUERY, write_reranker

from oxillama_web import EngineConfig, InferenceEngine
from oxillama_web.browser.worker import WorkerEngine
from oxillama_web.openai import APIError, OpenAI


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[InferenceEngine]:
    path = tmp_path_factory.mktemp("reranker") / "bert.gguf"
    write_reranker(path, "bert")
    with InferenceEngine(EngineConfig(str(path))) as engine:
        yield engine


@pytest.fixture
def client(engine: InferenceEngine) -> OpenAI:
    return OpenAI(engine)


def test_results_are_the_engine_s(client: OpenAI, engine: InferenceEngine) -> None:
    answer = client.rerank.create(query=QUERY, documents=DOCUMENTS, top_n=3)
    expected = engine.rerank(QUERY, DOCUMENTS, 3)
    assert answer["results"] == [asdict(document) for document in expected]
    assert answer["usage"]["prompt_tokens"] == answer["usage"]["total_tokens"] > 5 * len(DOCUMENTS)
    objects = [{"text": text} for text in DOCUMENTS]
    found = client.rerank.create(query=QUERY, documents=objects, return_documents=True)["results"]
    assert found[0]["document"] == {"text": DOCUMENTS[found[0]["index"]]}
    assert len(found) == len(DOCUMENTS)


def test_a_page_gets_the_same(engine: InferenceEngine) -> None:
    worker = WorkerEngine()
    worker._engine = engine
    assert worker.info()["isReranker"]
    assert worker.rerank(QUERY, DOCUMENTS, {"topN": 2}) == [
        {"index": document.index, "relevanceScore": document.relevance_score}
        for document in engine.rerank(QUERY, DOCUMENTS, 2)
    ]


@pytest.mark.parametrize(
    ("request_", "param"),
    [
        ({"documents": ["x"]}, "query"),
        ({"query": "x"}, "documents"),
        ({"query": "x", "documents": []}, "documents"),
        ({"query": "x", "documents": [{"image": "x"}]}, "documents"),
        ({"query": ["x"], "documents": ["x"]}, "query"),
        ({"query": "x", "documents": ["x"], "top_n": 0}, "top_n"),
        ({"query": "x", "documents": ["x"], "max_tokens_per_doc": 5}, "max_tokens_per_doc"),
    ],
)
def test_a_wrong_request_is_refused_by_name(client: OpenAI, request_: dict, param: str) -> None:
    with pytest.raises(APIError) as caught:
        client.rerank.create(**request_)
    assert (caught.value.status, caught.value.param) == (400, param)
