"""Tokenizers from the `tokenizer.ggml.*` metadata of GGUF files.

Behaves as llama.cpp's src/llama-vocab.cpp does: the same ids for the same file.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from ..errors import TokenizerError
from .bpe import bpe_encoder, byte_token_ids, rank_cost
from .byte_level import byte_chars_to_bytes, text_to_byte_chars
from .gguf_pre_tokenizers import GGUFPreTokenizer, gguf_pre_tokenizer
from .gguf_tables import PREFIX, VocabularyTables
from .merging import INFINITE
from .metaspace import METASPACE, pre_token_splitter
from .regex import isolating_splitter
from .special_tokens import end_of_generation_ids, find_fill_marks
from .tokenizer import TextEncoder, Tokenizer


def load_gguf_vocabulary(metadata: Mapping[str, Any]) -> Tokenizer:
    """Return the tokenizer that a GGUF file's metadata describes.

    Args:
        metadata: keys and values of the file; arrays are lists whose items are of one type.

    Raises:
        TokenizerError: keys are missing or of a wrong type, or the kind of vocabulary is not
            supported.
    """
    model = metadata.get(PREFIX + "model")
    if model in ("gpt2", "gemma4", "whitespace"):
        return _load_bpe(VocabularyTables(metadata), model)
    if model == "llama":
        return _load_sentencepiece(VocabularyTables(metadata))
    if model == "bert":
        return _load_word_piece(VocabularyTables(metadata))
    if model == "t5":
        return _load_unigram(VocabularyTables(metadata))
    if model is None:
        raise TokenizerError(
            "the model file has no tokenizer.ggml.model: it holds no vocabulary; give a "
            "tokenizer.json with the model"
        )
    raise TokenizerError(
        f"vocabularies of the kind {model!r} (tokenizer.ggml.model) are not supported; supported "
        "are: gpt2, llama, gemma4, whitespace, bert, t5; or give a tokenizer.json with the model"
    )


def _load_bpe(vocabulary: VocabularyTables, model: str) -> Tokenizer:
    name = "gemma4" if model == "gemma4" else vocabulary.text("pre", "default")
    pre_tokenizer = gguf_pre_tokenizer(name)
    encoder = _Lazy(lambda: _bpe_encoder(vocabulary, pre_tokenizer))
    text_to_bytes: Callable[[str], bytes]
    if pre_tokenizer.byte_level:
        text_to_bytes = byte_chars_to_bytes
    else:
        text_to_bytes = _spaced_to_bytes(vocabulary.byte_tokens())
    bos_default = None if model == "gemma4" or name in ("glm4", "chatglm-bpe") else 11
    return _tokenizer(
        vocabulary,
        encode_text=encoder,
        text_to_bytes=text_to_bytes,
        bos_default=bos_default,
        eos_default=None if model == "gemma4" else 11,
        add_bos=pre_tokenizer.add_bos,
        add_sep=name in ("jina-v1-en", "jina-v2-code", "roberta-bpe"),
        leading_spaces=0,
    )


def _load_sentencepiece(vocabulary: VocabularyTables) -> Tokenizer:
    add_space_prefix = vocabulary.flag("add_space_prefix", True)
    encoder = _Lazy(lambda: _sentencepiece_encoder(vocabulary, add_space_prefix))
    return _tokenizer(
        vocabulary,
        encode_text=encoder,
        text_to_bytes=_spaced_to_bytes(vocabulary.byte_tokens()),
        bos_default=1,
        eos_default=2,
        add_bos=True,
        leading_spaces=int(add_space_prefix),
    )


def _load_word_piece(vocabulary: VocabularyTables) -> Tokenizer:
    def encoder() -> TextEncoder:
        from .gguf_word_piece import word_piece_encoder

        return word_piece_encoder(vocabulary)

    return _tokenizer(
        vocabulary,
        encode_text=_Lazy(encoder),
        text_to_bytes=_spaced_to_bytes({}),
        bos_default=101,
        eos_default=None,
        add_bos=True,
        leading_spaces=1,
        separator=_separator(vocabulary, 102),
    )


def _load_unigram(vocabulary: VocabularyTables) -> Tokenizer:
    def encoder() -> TextEncoder:
        from .gguf_unigram import unigram_encoder

        return unigram_encoder(vocabulary)

    return _tokenizer(
        vocabulary,
        encode_text=_Lazy(encoder),
        text_to_bytes=_spaced_to_bytes(vocabulary.byte_tokens()),
        bos_default=None,
        eos_default=1,
        add_bos=False,
        add_eos=True,
        leading_spaces=1,
    )


class _Lazy:
    """Builds the tables of an encoder at the first text instead of while a model loads."""

    def __init__(self, build: Callable[[], TextEncoder]) -> None:
        self._build = build
        self._encode: TextEncoder | None = None

    def __call__(self, text: str, at_start: bool, parse_special: bool) -> list[int]:
        if self._encode is None:
            self._encode = self._build()
        return self._encode(text, at_start, parse_special)


def _tokenizer(
    vocabulary: VocabularyTables,
    *,
    encode_text: TextEncoder,
    text_to_bytes: Callable[[str], bytes],
    bos_default: int | None,
    eos_default: int | None,
    add_bos: bool,
    leading_spaces: int,
    add_eos: bool = False,
    add_sep: bool = False,
    separator: int | None = None,
) -> Tokenizer:
    """Put a tokenizer together; a `separator` comes after a text in place of EOS.

    Between the two texts of a pair is what comes after a text, and with `add_sep` a separator.
    """
    bos = vocabulary.token("bos", bos_default)
    eos = vocabulary.token("eos", eos_default)
    add_bos = vocabulary.flag("add_bos_token", add_bos)
    last = separator
    if separator is None and vocabulary.flag("add_eos_token", add_eos):
        last = eos
    between = [last]
    if separator is None and vocabulary.flag("add_sep_token", add_sep):
        between.append(_separator(vocabulary))
    special_tokens = vocabulary.special_tokens()
    literal_texts = {token.text for token in special_tokens}

    def to_bytes(text: str) -> bytes:
        if text in literal_texts:
            return text.encode("utf-8", "surrogateescape")
        return text_to_bytes(text)

    return Tokenizer(
        vocabulary.tokens,
        encode_text=encode_text,
        text_to_bytes=to_bytes,
        special_tokens=special_tokens,
        longest_first=True,
        bos_id=bos,
        eos_id=eos,
        prefix_ids=[bos] if add_bos and bos is not None else [],
        suffix_ids=[] if last is None else [last],
        eog_ids=end_of_generation_ids(
            vocabulary.ids,
            (eos, vocabulary.token("eot"), vocabulary.token("eom")),
            (
                vocabulary.token("fim_pad"),
                vocabulary.token("fim_rep"),
                vocabulary.token("fim_sep"),
            ),
        ),
        leading_spaces=leading_spaces,
        separator_ids=[token for token in between if token is not None],
        fill_marks=find_fill_marks(
            vocabulary.ids,
            [vocabulary.token(mark) for mark in ("fim_pre", "fim_suf", "fim_mid")],
        ),
    )


def _separator(vocabulary: VocabularyTables, default: int | None = None) -> int | None:
    return vocabulary.token("seperator", default)  # as the key is spelt


def _bpe_encoder(vocabulary: VocabularyTables, pre_tokenizer: GGUFPreTokenizer) -> TextEncoder:
    ids = vocabulary.ids
    split = isolating_splitter(pre_tokenizer.patterns)

    def known_parts(symbol: str) -> list[int]:
        """Return the symbol's id, or as llama.cpp those of its parts that are tokens."""
        found = ids.get(symbol)
        if found is not None:
            return [found]
        if not pre_tokenizer.byte_level:
            return byte_token_ids(ids, symbol) or []
        return [ids[char] for char in symbol if char in ids]

    encoder = bpe_encoder(
        list,
        rank_cost(vocabulary.merges()),
        known_parts,
        ids if pre_tokenizer.ignore_merges else None,
    )
    if not pre_tokenizer.has_spaces:
        from .gguf_word_piece import word_splitter

        words = word_splitter(lowercase=vocabulary.flag("normalizer.lowercase", False))
        return lambda text, *_: encoder.encode(words(text))
    if pre_tokenizer.byte_level:
        return lambda text, *_: encoder.encode(map(text_to_byte_chars, split(text)))
    return lambda text, *_: encoder.encode(split(text.replace(" ", METASPACE)))


def _sentencepiece_encoder(vocabulary: VocabularyTables, add_space_prefix: bool) -> TextEncoder:
    ids = vocabulary.ids
    scores = vocabulary.scores()
    unknown = vocabulary.token("unknown", 0)

    def cost(left: str, right: str) -> float:
        token = ids.get(left + right)
        return INFINITE if token is None else -scores[token]

    def known_or_bytes(symbol: str) -> list[int]:
        found = ids.get(symbol)
        if found is not None:
            return [found]
        return byte_token_ids(ids, symbol) or ([] if unknown is None else [unknown])

    encoder = bpe_encoder(list, cost, known_or_bytes)
    split = pre_token_splitter(vocabulary.tokens)

    def encode(text: str, *_: bool) -> list[int]:
        if add_space_prefix:
            text = " " + text
        return encoder.encode(split(text.replace(" ", METASPACE)))

    return encode


def _spaced_to_bytes(byte_tokens: dict[str, bytes]) -> Callable[[str], bytes]:
    """Return a function: the bytes of a token whose spaces are written as U+2581."""

    def text_to_bytes(text: str) -> bytes:
        found = byte_tokens.get(text)
        if found is not None:
            return found
        return text.replace(METASPACE, " ").encode("utf-8", "surrogateescape")

    return text_to_bytes
