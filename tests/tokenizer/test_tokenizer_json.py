"""A tokenizer.json gives the ids and texts that Hugging Face tokenizers gives.

The files are those of tokenizer_families.py: small vocabularies with the parts that the families of
language models use. One is SmolLM2's own, from its GGUF file.
"""

from __future__ import annotations

import functools
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import tokenizers as hf
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizer_families import FAMILIES, gemma, gpt2, gpt2_with_prefix_space, llama2
from tokenizers import decoders, models, normalizers, pre_tokenizers

from oxillama_web.errors import TokenizerError
from oxillama_web.gguf.reader import GGUFFile
from oxillama_web.tokenizer import Tokenizer, hf_backend, load_tokenizer_json

TEXT = st.lists(
    st.one_of(
        st.sampled_from(["self", " the", "  ", "    ", "\n", "\n\n", "\t", "1", "234", " 5", "'s"]),
        st.sampled_from(
            ["'LL", "É", "é", "e\u0301", "ﬁ", "½", "漢", "か", "😀", "🏽", "\u200d", "Σ"]
        ),
        st.sampled_from(["<s>", "</s>", "<|im_end|>", "<pad>", "<mask> ", " word", "▁", "def "]),
        st.sampled_from([".", ",", "!", "_", "(", "[X]", "ok", "\r\n", "\xa0", "\u3000", "\x00"]),
        st.text(st.characters(codec="utf-8", max_codepoint=0x2FFFF), max_size=3),
    ),
    max_size=25,
).map("".join)


@functools.cache
def pair(family: Any) -> tuple[hf.Tokenizer, Tokenizer]:
    theirs = family()
    return theirs, load_tokenizer_json(theirs.to_str())


@pytest.mark.parametrize("family", [gpt2, gpt2_with_prefix_space, llama2, gemma])
def test_a_part_of_a_text_gets_no_space_before_it(family: Callable[[], hf.Tokenizer]) -> None:
    tokenizer = load_tokenizer_json(family().to_str())
    for text in ("lo wor", "  x", "ing the", " ,1", "é"):
        ids = tokenizer.encode_inside(text)
        assert b"".join(map(tokenizer.token_bytes, ids)) == text.encode()


def test_two_texts_are_joined_by_the_template() -> None:
    joined = 0
    for family in FAMILIES:
        theirs, ours = pair(family)
        for texts in (("the word", "is self"), ("", " x")):
            ids = ours.encode_pair(*texts)
            assert ids in (None, theirs.encode(*texts).ids), family
            joined += ids is not None
    assert joined >= 4  # BERT and RoBERTa


@pytest.mark.parametrize("family", FAMILIES)
@settings(deadline=None)
@given(text=TEXT)
def test_same_ids_and_texts(family: Any, text: str) -> None:
    theirs, ours = pair(family)
    ids = theirs.encode(text).ids
    assert ours.encode(text) == ids
    bare = theirs.encode(text, add_special_tokens=False).ids
    assert ours.encode(text, add_bos=False, add_eos=False) == bare
    if "\ufffd" not in theirs.decode(ids):
        assert ours.decode(ids) == theirs.decode(ids)
        assert ours.decode(ids, skip_special=False) == theirs.decode(ids, skip_special_tokens=False)


@pytest.mark.parametrize("family", FAMILIES)
@settings(deadline=None, max_examples=30)
@given(text=TEXT)
def test_special_tokens_as_plain_text(family: Any, text: str) -> None:
    theirs, ours = pair(family)
    theirs.encode_special_tokens = True
    try:
        ids = theirs.encode(text, add_special_tokens=False).ids
    finally:
        theirs.encode_special_tokens = False
    assert ours.encode(text, add_bos=False, add_eos=False, parse_special=False) == ids


@pytest.mark.parametrize("family", FAMILIES)
@settings(deadline=None, max_examples=30)
@given(data=st.data())
def test_a_stream_gives_the_whole(family: Any, data: st.DataObject) -> None:
    _, ours = pair(family)
    ids = data.draw(st.lists(st.integers(0, ours.n_vocab - 1), max_size=30))
    decoder = ours.stream_decoder()
    assert "".join([decoder.push(token) for token in ids]) + decoder.finish() == ours.decode(ids)


@functools.cache
def smollm2_pair(path: Path) -> tuple[hf.Tokenizer, Tokenizer]:
    """SmolLM2's tokenizer.json, put together from its GGUF file."""
    metadata = GGUFFile(path.read_bytes()).metadata
    tokens, types = (metadata[f"tokenizer.ggml.{key}"] for key in ("tokens", "token_type"))
    merges = [tuple(merge.split(" ")) for merge in metadata["tokenizer.ggml.merges"]]
    theirs = hf.Tokenizer(models.BPE({text: i for i, text in enumerate(tokens)}, merges))
    theirs.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Digits(individual_digits=True),
            pre_tokenizers.ByteLevel(add_prefix_space=False),
        ]
    )
    theirs.decoder = decoders.ByteLevel()
    theirs.add_special_tokens([text for text, kind in zip(tokens, types, strict=True) if kind == 3])
    return theirs, load_tokenizer_json(theirs.to_str())


@settings(deadline=None)
@given(text=TEXT)
def test_smollm2(smollm2_path: Path, text: str) -> None:
    theirs, ours = smollm2_pair(smollm2_path)
    ids = theirs.encode(text).ids
    assert ours.encode(text) == ids
    assert ours.decode(ids) == theirs.decode(ids)


def test_special_ids(smollm2_path: Path) -> None:
    _, ours = smollm2_pair(smollm2_path)
    assert ours.eos_id == 2
    assert {0, 2} <= ours.eog_ids
    assert not ours.add_bos
    theirs, _ = pair(llama2)
    ours = load_tokenizer_json(theirs.to_str().encode(), eos_id=702)
    assert (ours.bos_id, ours.eos_id) == (700, 702)
    assert ours.add_bos and ours.add_eos


def test_merges_as_texts_or_pairs() -> None:
    spec = json.loads(pair(gpt2)[0].to_str())
    spec["model"]["merges"] = [" ".join(merge) for merge in spec["model"]["merges"]]
    text = "def test_merges(self): return 1"
    assert load_tokenizer_json(json.dumps(spec)).encode(text) == pair(gpt2)[1].encode(text)


@pytest.mark.parametrize("change", ["model", "vocab", "merges", "pre_tokenizer", "added_tokens"])
def test_broken_files(change: str) -> None:
    spec = json.loads(pair(gpt2)[0].to_str())
    if change in spec:
        spec[change] = 5
    else:
        spec["model"][change] = 5
    with pytest.raises(TokenizerError, match="broken or incomplete"):
        load_tokenizer_json(json.dumps(spec))


@pytest.mark.parametrize("text", ["", "{", "[]", "null", "{}", "\ufeff", '{"model": {}}', b"\xff"])
def test_no_tokenizer(text: str | bytes) -> None:
    with pytest.raises(TokenizerError):
        load_tokenizer_json(text)


@pytest.mark.parametrize("part", ["normalizer", "pre_tokenizer", "decoder", "post_processor"])
def test_unsupported_parts_are_named(part: str) -> None:
    spec = json.loads(pair(gpt2)[0].to_str())
    spec[part] = {"type": "Novelty"}
    with pytest.raises(TokenizerError, match=r"'Novelty' is not supported"):
        load_tokenizer_json(json.dumps(spec))


def test_without_the_library_our_own_code_encodes(monkeypatch: pytest.MonkeyPatch) -> None:
    theirs, _ = pair(gpt2)
    text = theirs.to_str()
    assert load_tokenizer_json(text, use_library=True).hf_backend is not None
    monkeypatch.setitem(sys.modules, "tokenizers", None)
    ours = load_tokenizer_json(text, use_library=True)
    assert ours.hf_backend is None
    assert ours.encode("Hello, wörld 123") == theirs.encode("Hello, wörld 123").ids


@pytest.mark.parametrize(
    ("normalizer", "added", "text"),
    [
        (
            normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")]),
            "he",
            "the he her",
        ),
        (normalizers.Lowercase(), "X", "axe"),
        (normalizers.NFC(), "e\u0301", "é e\u0301"),
    ],
)
def test_an_added_token_leaves_the_text_of_others_alone(
    normalizer: Any, added: str, text: str
) -> None:
    """Its normalized text may be that of another token, which keeps it."""
    tokens = ["<unk>", "▁", *"abcdefghijklmnopqrstuvwxyzé", "he", "▁he"]
    ids = {token: number for number, token in enumerate(tokens)}
    merges = [("h", "e"), ("▁", "he")]
    theirs = hf.Tokenizer(models.BPE(vocab=ids, merges=merges, unk_token="<unk>"))
    theirs.normalizer = normalizer
    theirs.decoder = decoders.Sequence(
        [decoders.Replace("▁", " "), decoders.Fuse(), decoders.Strip(" ", 1, 0)]
    )
    theirs.add_tokens([hf.AddedToken(added, single_word=True)])
    ours = load_tokenizer_json(theirs.to_str())
    encoded = theirs.encode(text, add_special_tokens=False).ids
    assert ours.encode(text, add_bos=False, add_eos=False) == encoded
    for token in [[number] for number in range(theirs.get_vocab_size())] + [encoded]:
        expected = theirs.decode(token, skip_special_tokens=False)
        assert ours.decode(token, skip_special=False) == expected


@pytest.mark.parametrize(
    ("token", "message"),
    [
        (10**7, r"'<s>'.*too great"),
        (1 << 40, r"added_tokens\[{}\]\.id"),
        (10**30, r"added_tokens\[{}\]\.id"),
    ],
)
def test_a_huge_id_is_an_error_that_names_its_place(token: int, message: str) -> None:
    spec = json.loads(pair(gpt2)[0].to_str())
    place = [added["content"] for added in spec["added_tokens"]].index("<s>")
    spec["added_tokens"][place]["id"] = token
    with pytest.raises(TokenizerError, match=message.format(place)):
        load_tokenizer_json(json.dumps(spec))


def test_where_the_library_fails_our_own_code_encodes(monkeypatch: pytest.MonkeyPatch) -> None:
    """A panic of the library is a BaseException, and no reason to end a program."""

    class PanicException(BaseException):
        """As pyo3 raises it."""

    class Panicking:
        def encode(self, *_: Any, **__: Any) -> Any:
            raise PanicException("index out of bounds")

    text = pair(gpt2)[0].to_str()
    expected = pair(gpt2)[1].encode("Hello, wörld 123")
    monkeypatch.setattr(hf_backend, "_loaded", lambda *_: Panicking())
    ours = load_tokenizer_json(text, use_library=True)
    assert ours.hf_backend is not None
    assert ours.encode("Hello, wörld 123") == expected
    monkeypatch.setattr(Panicking, "encode", lambda *_, **__: sys.exit(1))
    with pytest.raises(SystemExit):
        ours.encode("Hello")


def test_a_file_that_is_not_utf8_is_encoded_by_our_own_code() -> None:
    data = pair(gpt2)[0].to_str().encode("utf-16")
    ours = load_tokenizer_json(data, use_library=True)
    assert ours.hf_backend is None
    assert ours.encode("Hello") == pair(gpt2)[1].encode("Hello")


LONG = "x" * 2000
GROWING = {"type": "Replace", "pattern": {"String": "a"}, "content": "aa"}
WRONG = [
    ({"added_tokens": [{"id": "7", "content": "x"}]}, r"added_tokens\[0\]\.id is a text"),
    ({"added_tokens": [{"id": 7, "content": None}]}, r"added_tokens\[0\]\.content is null"),
    ({"added_tokens": [{"id": 7, "content": "x", "special": 1}]}, r"added_tokens\[0\]\.special"),
    ({"normalizer": {"type": "Prepend", "prepend": LONG}}, r"normalizer\.prepend has more than"),
    ({"normalizer": {"type": "Replace", "pattern": [], "content": ""}}, r"normalizer\.pattern is"),
    ({"normalizer": {"type": "Sequence", "normalizers": 5}}, r"normalizer\.normalizers is a whole"),
    ({"pre_tokenizer": {"type": "CharDelimiterSplit", "delimiter": ""}}, r"delimiter is not one"),
    ({"pre_tokenizer": {"type": "Metaspace", "replacement": "ab"}}, r"replacement is not one"),
    (
        {"decoder": {"type": "Strip", "content": " ", "start": 1 << 70, "stop": 0}},
        r"decoder\.start",
    ),
    (
        {"post_processor": {"type": "BertProcessing", "sep": ["x", 9999], "cls": []}},
        r"cls is not a",
    ),
    ({"model": {"type": "BPE", "vocab": {"a": 1.5}, "merges": []}}, r"model\.vocab holds an id"),
    ({"model": {"type": "BPE", "vocab": {"a": 0}, "merges": [["a"]]}}, r"model\.merges is not a"),
    ({"model": {"type": "Unigram", "vocab": [["a", "b"]]}}, r"model\.vocab holds something"),
    (
        {"decoder": {"type": "Metaspace", "replacement": "\ud800"}},
        r"decoder\.replacement holds half",
    ),
    ({"model": {"type": "Unigram", "vocab": [["a", float("nan")]]}}, r"NaN is no number"),
]


@pytest.mark.parametrize(("change", "message"), WRONG)
def test_errors_name_the_place(change: dict[str, Any], message: str) -> None:
    spec = json.loads(pair(gpt2)[0].to_str()) | change
    with pytest.raises(TokenizerError, match=message):
        load_tokenizer_json(json.dumps(spec))


def test_texts_do_not_grow_without_bound() -> None:
    spec = json.loads(pair(gpt2)[0].to_str())
    spec["normalizer"] = {"type": "Sequence", "normalizers": [GROWING] * 40}
    ours = load_tokenizer_json(json.dumps(spec), use_library=True)
    assert ours.hf_backend is None
    assert ours.encode("bcd") == pair(gpt2)[1].encode("bcd")
    with pytest.raises(TokenizerError, match=r"normalizer.*makes a text of"):
        ours.encode("a")
    nested: dict[str, Any] = GROWING
    for _ in range(200):
        nested = {"type": "Sequence", "normalizers": [nested]}
    with pytest.raises(TokenizerError, match=r"nested too deeply"):
        load_tokenizer_json(json.dumps(spec | {"normalizer": nested}))
