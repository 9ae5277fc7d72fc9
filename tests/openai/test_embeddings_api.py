"""Embeddings in OpenAI's shape."""

from __future__ import annotations

import base64

import numpy as np
import pytest
from openai.types import CreateEmbeddingResponse

from oxillama_web import InferenceEngine
from oxillama_web.openai import APIError, OpenAI


def test_vectors_are_the_engine_s(client: OpenAI, engine: InferenceEngine) -> None:
    texts = ["the dog", "sleeps"]
    answer = client.embeddings.create(input=texts)
    CreateEmbeddingResponse.model_validate(answer, strict=True)
    expected = np.array(engine.embed_batch(texts))
    found = np.array([item["embedding"] for item in answer["data"]])
    np.testing.assert_array_equal(found, expected)
    by_ids = client.embeddings.create(input=[engine.tokenize(text) for text in texts])
    assert by_ids["data"] == answer["data"]
    assert answer["usage"]["prompt_tokens"] == sum(len(engine.tokenize(text)) for text in texts)

    spelled = client.embeddings.create(input="<|im_end|>")["usage"]["prompt_tokens"]
    assert spelled == len(engine.tokenizer.encode("<|im_end|>", parse_special=False)) > 1

    coded = client.embeddings.create(input=texts, encoding_format="base64", dimensions=16)
    short = expected[:, :16] / np.linalg.norm(expected[:, :16], axis=1, keepdims=True)
    for item, vector in zip(coded["data"], short, strict=True):
        values = np.frombuffer(base64.b64decode(item["embedding"]), np.float32)
        np.testing.assert_allclose(values, vector, rtol=1e-6)


@pytest.mark.parametrize(
    ("request_", "param"),
    [
        ({}, "input"),
        ({"input": 5}, "input"),
        ({"input": "x", "dimensions": 1000}, "dimensions"),
        ({"input": "x", "encoding_format": "int8"}, "encoding_format"),
    ],
)
def test_a_wrong_request_is_refused_by_name(client: OpenAI, request_: dict, param: str) -> None:
    with pytest.raises(APIError) as caught:
        client.embeddings.create(**request_)
    assert (caught.value.status, caught.value.param) == (400, param)
