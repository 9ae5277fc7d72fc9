"""GGUF vocabularies give the ids that llama.cpp gives."""

from __future__ import annotations

import json
import lzma
from base64 import b64decode
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from minilm import minilm_path
from paths import DATA

from oxillama_web.errors import TokenizerError
from oxillama_web.gguf.reader import GGUFFile
from oxillama_web.tokenizer import Tokenizer, load_gguf_vocabulary

LLAMA_CPP = json.loads((DATA / "tokenizer_golden.json").read_text())
MODELS = ["smollm2-135m-instruct", "gemma-3-270m"]


@pytest.fixture(scope="module")
def tokenizers(smollm2_path: Path, gemma3_path: Path) -> dict[str, Tokenizer]:
    paths = dict(zip(MODELS, (smollm2_path, gemma3_path), strict=True))
    return {
        name: load_gguf_vocabulary(GGUFFile(path.read_bytes()).metadata)
        for name, path in paths.items()
    }


@pytest.mark.parametrize("model", MODELS)
def test_golden_ids(
    model: str, tokenizers: dict[str, Tokenizer], golden: Callable[[str], dict[str, Any]]
) -> None:
    for case in golden(model)["cases"]:
        assert tokenizers[model].encode(case["text"]) == case["ids"]
        assert tokenizers[model].decode(case["ids"]) == case["text"]


@pytest.mark.parametrize("model", MODELS)
def test_same_ids_as_llama_cpp(model: str, tokenizers: dict[str, Tokenizer]) -> None:
    tokenizer, expected = tokenizers[model], LLAMA_CPP["models"][model]
    check_ids(tokenizer, expected)


def check_ids(
    tokenizer: Tokenizer, expected: dict[str, Any], texts: list[str] = LLAMA_CPP["texts"]
) -> None:
    for text, *ids in zip(texts, expected["ids"], expected["plain_ids"], strict=True):
        plain = tokenizer.encode(text, add_bos=False, add_eos=False, parse_special=False)
        assert [tokenizer.encode(text), plain] == ids


def test_word_piece_gives_the_ids_of_llama_cpp() -> None:
    tokenizer = load_gguf_vocabulary(GGUFFile(minilm_path("Q8_0").read_bytes()).metadata)
    check_ids(tokenizer, LLAMA_CPP["models"]["all-minilm-l6-v2"])
    ids = tokenizer.encode("Wordpieces, please!", add_bos=False, add_eos=False)
    assert tokenizer.decode(ids) == "wordpieces , please !"
    joined = tokenizer.encode_pair("Wordpieces, please!", "please [SEP]")
    assert joined is not None
    assert joined[: len(ids) + 2] == [101, *ids, 102]
    assert [joined.count(102), joined[-1]] == [2, 102]  # what spells out a separator is text


def test_unigram_gives_the_ids_of_llama_cpp(golden: Callable[[str], dict[str, Any]]) -> None:
    expected = golden("unigram")
    assert len(expected["texts"]) > 250
    for variant in expected["variants"]:
        tokenizer = unigram_tokenizer(expected["metadata"] | variant["metadata"])
        check_ids(tokenizer, variant, expected["texts"])


def unigram_tokenizer(metadata: dict[str, Any]) -> Tokenizer:
    charsmap = lzma.decompress(b64decode(metadata["precompiled_charsmap"]))
    entries = (metadata | {"precompiled_charsmap": list(charsmap)}).items()
    return load_gguf_vocabulary({f"tokenizer.ggml.{key}": value for key, value in entries})


@pytest.mark.parametrize("model", MODELS)
def test_same_special_tokens_as_llama_cpp(model: str, tokenizers: dict[str, Tokenizer]) -> None:
    tokenizer, expected = tokenizers[model], LLAMA_CPP["models"][model]
    assert tokenizer.bos_id == expected["bos"]
    assert tokenizer.eos_id == expected["eos"]
    assert tokenizer.add_bos == expected["add_bos"]
    assert sorted(tokenizer.eog_ids) == expected["eog"]


def test_control_tokens_are_not_text(tokenizers: dict[str, Tokenizer]) -> None:
    tokenizer = tokenizers["smollm2-135m-instruct"]
    ids = tokenizer.encode("<|im_start|>user\nhi<|im_end|>")
    assert tokenizer.decode(ids) == "user\nhi"
    assert tokenizer.decode(ids, skip_special=False) == "<|im_start|>user\nhi<|im_end|>"
    assert tokenizer.token_bytes(2) == b"<|im_end|>"


# SmolLM2's vocabulary has no tokens for a few bytes; gemma writes spaces as the character U+2581
TEXT = st.text(
    st.characters(
        codec="utf-8", max_codepoint=0x3FFFF, exclude_characters="▁\x04\x06\x13\x14\x16\x1d"
    )
)


@given(TEXT)
def test_text_survives(tokenizers: dict[str, Tokenizer], text: str) -> None:
    for tokenizer in tokenizers.values():
        ids = tokenizer.encode(text, add_bos=False, parse_special=False)
        assert tokenizer.decode(ids) == text
        assert b"".join(map(tokenizer.token_bytes, ids)).decode() == text


@given(st.data())
def test_a_stream_gives_the_whole_and_no_half_character(
    tokenizers: dict[str, Tokenizer], data: st.DataObject
) -> None:
    for tokenizer in tokenizers.values():
        ids = data.draw(st.lists(st.integers(0, tokenizer.n_vocab - 1), max_size=30))
        ids += tokenizer.encode(data.draw(st.text(max_size=10)))
        decoder = tokenizer.stream_decoder()
        pieces = [decoder.push(token) for token in ids]
        assert "".join(pieces) + decoder.finish() == tokenizer.decode(ids)
        shown = (token for token in ids if not tokenizer.is_control(token))
        whole = b"".join(map(tokenizer.token_bytes, shown)).decode("utf-8", "replace")
        assert tokenizer.decode(ids) == whole


def test_a_character_comes_once_it_is_whole(tokenizers: dict[str, Tokenizer]) -> None:
    tokenizer = tokenizers["smollm2-135m-instruct"]
    ids = tokenizer.encode("𐐀")
    decoder = tokenizer.stream_decoder()
    assert len(ids) > 1
    assert [decoder.push(token) for token in ids] == [""] * (len(ids) - 1) + ["𐐀"]
    decoder = tokenizer.stream_decoder()
    assert decoder.push(ids[0]) == ""
    assert decoder.finish() == "\ufffd"


def test_ids_beyond_the_vocabulary(tokenizers: dict[str, Tokenizer]) -> None:
    tokenizer = tokenizers["smollm2-135m-instruct"]
    assert tokenizer.decode([tokenizer.n_vocab, -1]) == ""
    with pytest.raises(TokenizerError, match="not in the vocabulary"):
        tokenizer.token_bytes(tokenizer.n_vocab)
    with pytest.raises(TokenizerError, match="not in the vocabulary"):
        tokenizer.token_bytes(-1)


def test_bytes_of_the_whole_vocabulary(tokenizers: dict[str, Tokenizer]) -> None:
    for tokenizer in tokenizers.values():
        all_bytes = tokenizer.vocab_bytes()
        assert len(all_bytes) == tokenizer.n_vocab
        ids = tokenizer.encode("two 漢字 and\n 12  spaces", add_bos=False)
        assert b"".join(all_bytes[token] for token in ids).decode() == tokenizer.decode(ids)
        assert all_bytes[ids[0]] == tokenizer.token_bytes(ids[0])


def test_surrogates(tokenizers: dict[str, Tokenizer]) -> None:
    tokenizer = tokenizers["smollm2-135m-instruct"]
    assert tokenizer.decode(tokenizer.encode("\ud83d\ude00 \ud83d")) == "😀 \ufffd"


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("char", ["a", " ", "\n", "<", "é", "1"])
def test_long_runs_take_no_quadratic_time(
    model: str, char: str, tokenizers: dict[str, Tokenizer]
) -> None:
    # at 5 ms for 1,000 characters, quadratic time would be 50 s here
    text = char * 100_000
    ids = tokenizers[model].encode(text, add_bos=False)
    assert tokenizers[model].decode(ids) == text


# a small SentencePiece vocabulary: the merges are those of the scores, best first

SMALL = {
    "tokenizer.ggml.model": "llama",
    "tokenizer.ggml.tokens": [
        *("<unk>", "<s>", "</s>", *(f"<0x{byte:02X}>" for byte in range(256))),
        *("▁", "a", "b", "ab", "▁a", "abab", "b▁", "[USER]"),
    ],
    "tokenizer.ggml.token_type": [2, 3, 3, *[6] * 256, *[1] * 7, 4],
    "tokenizer.ggml.scores": [0.0] * 259 + [-1.0, -1.0, -1.0, -3.0, -2.0, -4.0, -9.0, 0.0],
}


def names(tokenizer: Tokenizer, ids: list[int]) -> list[str]:
    return [SMALL["tokenizer.ggml.tokens"][token] for token in ids]


def test_small_sentencepiece() -> None:
    tokenizer = load_gguf_vocabulary(SMALL)
    assert names(tokenizer, tokenizer.encode("abab")) == ["<s>", "▁a", "b", "ab"]
    assert names(tokenizer, tokenizer.encode("babab")) == ["<s>", "▁", "b", "abab"]
    assert names(tokenizer, tokenizer.encode("é")) == ["<s>", "▁", "<0xC3>", "<0xA9>"]
    assert names(tokenizer, tokenizer.encode("b b")) == ["<s>", "▁", "b▁", "b"]
    assert names(tokenizer, tokenizer.encode("[USER]a</s>a")) == [
        *("<s>", "[USER]", "▁a", "</s>", "▁a")
    ]
    assert names(tokenizer, tokenizer.encode("[USER]", parse_special=False)) == ["<s>", "[USER]"]


def test_the_space_before_a_text_is_not_part_of_it() -> None:
    tokenizer = load_gguf_vocabulary(SMALL)
    ids = tokenizer.encode("a ab")
    assert tokenizer.decode(ids) == "a ab"
    assert tokenizer.decode(tokenizer.encode("  a")) == "  a"
    decoder = tokenizer.stream_decoder(continues_text=True)
    assert "".join(map(decoder.push, ids)) + decoder.finish() == " a ab"


def test_bos_and_eos() -> None:
    tokenizer = load_gguf_vocabulary(SMALL | {"tokenizer.ggml.add_eos_token": True})
    assert names(tokenizer, tokenizer.encode("")) == ["<s>", "</s>"]
    assert tokenizer.encode("", add_bos=False, add_eos=False) == []
    assert names(tokenizer, tokenizer.encode_pair("a", "b")) == [
        "<s>",
        "▁a",
        "</s>",
        "▁",
        "b",
        "</s>",
    ]
    separated = {"tokenizer.ggml.add_sep_token": True, "tokenizer.ggml.seperator_token_id": 2}
    ids = load_gguf_vocabulary(SMALL | separated).encode_pair("a", "b")
    assert names(tokenizer, ids) == ["<s>", "▁a", "</s>", "▁", "b"]
    assert load_gguf_vocabulary(SMALL).encode_pair("a", "b") is None
    bpe = {
        "tokenizer.ggml.model": "gpt2",
        "tokenizer.ggml.tokens": ["a", "b"],
        "tokenizer.ggml.merges": [],
    }
    with pytest.raises(TokenizerError, match="no BOS token"):
        load_gguf_vocabulary(bpe).encode("a", add_bos=True)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"tokenizer.ggml.model": "rwkv"}, "'rwkv'.*supported are: gpt2, llama"),
        ({"tokenizer.ggml.model": None}, "no tokenizer.ggml.model"),
        ({"tokenizer.ggml.model": "gpt2", "tokenizer.ggml.pre": "new"}, "'new'.*llama-bpe"),
        ({"tokenizer.ggml.tokens": []}, "empty"),
        ({"tokenizer.ggml.tokens": 5}, "lacks the list"),
        ({"tokenizer.ggml.tokens": ["a", ["b"]]}, "not text"),
        ({"tokenizer.ggml.token_type": [1]}, "only 1 types"),
        ({"tokenizer.ggml.token_type": [-1] * 300}, "impossible type"),
    ],
)
def test_broken_metadata(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(TokenizerError, match=message):
        load_gguf_vocabulary(SMALL | changes)


def test_missing_scores_are_an_error_at_the_first_text() -> None:
    tokenizer = load_gguf_vocabulary(SMALL | {"tokenizer.ggml.scores": [0.0]})
    with pytest.raises(TokenizerError, match="only 1 scores"):
        tokenizer.encode("a")


@pytest.mark.parametrize(
    "changes",
    [
        {"tokenizer.ggml.scores": [[]] * 300},
        {"tokenizer.ggml.scores": ["1"] * 300},
        {"tokenizer.ggml.model": "gpt2", "tokenizer.ggml.merges": [["a", "b"]]},
        {"tokenizer.ggml.model": "gpt2", "tokenizer.ggml.merges": [1]},
    ],
)
def test_tables_of_a_wrong_type_are_an_error_at_the_first_text(changes: dict[str, Any]) -> None:
    tokenizer = load_gguf_vocabulary(SMALL | changes)
    with pytest.raises(TokenizerError, match="holds something that is no"):
        tokenizer.encode("a")


def test_end_of_generation_names() -> None:
    texts = ["<|end|>", "<|return|>", "<|call|>", "<|file_sep|>", "<|fim_pad|>", "x", "<|eot_id|>"]
    metadata = {
        "tokenizer.ggml.model": "gpt2",
        "tokenizer.ggml.tokens": texts,
        "tokenizer.ggml.merges": [],
        "tokenizer.ggml.eos_token_id": 5,
    }
    tokenizer = load_gguf_vocabulary(metadata)
    # with <|return|> and <|call|>, <|end|> ends a message only
    assert tokenizer.eog_ids == {1, 2, 3, 4, 5, 6}
    assert tokenizer.is_control(4)
