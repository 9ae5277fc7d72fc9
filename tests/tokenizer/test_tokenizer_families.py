"""The tokenizer.json files of real families give the ids of Hugging Face tokenizers."""

from __future__ import annotations

import json

import pytest
import tokenizers as hf
from get_test_tokenizers import get_test_tokenizers
from tokenizer_texts import texts

from oxillama_web.tokenizer import load_tokenizer_json

COUNT = 10_000


@pytest.mark.slow
@pytest.mark.parametrize("family", ["llama2", "llama3", "qwen3", "deepseek_v3", "gemma3", "gptoss"])
def test_same_ids_as_hugging_face(family: str) -> None:
    spec = (get_test_tokenizers() / f"{family}.json").read_text(encoding="utf-8")
    oracle, tokenizer = hf.Tokenizer.from_str(spec), load_tokenizer_json(spec)
    special = [token["content"] for token in json.loads(spec)["added_tokens"]][:300]
    samples = texts(COUNT, special)
    assert len(samples) == COUNT
    with_library = load_tokenizer_json(spec, use_library=True)
    assert with_library.hf_backend is not None
    for text, expected in zip(samples, oracle.encode_batch(samples), strict=True):
        ids = tokenizer.encode(text)
        assert ids == expected.ids, text
        assert with_library.encode(text) == ids, text
    for text in samples[:2000]:
        plain = tokenizer.encode(text, add_bos=False, parse_special=False)
        assert with_library.encode(text, add_bos=False, parse_special=False) == plain, text
