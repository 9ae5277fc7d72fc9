"""Tokenizers from the `tokenizer.ggml.*` metadata of GGUF files.

Behaves as llama.cpp's src/llama-vocab.cpp does: the same ids for the same file.
"""

from __future__ import annotations

from array import array
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from ..errors import TokenizerError
from .base import TextEncoder, Tokenizer
from .bpe import WordEncoder, byte_of_token, byte_token_ids, rank_cost
from .byte_level import byte_chars_to_bytes, text_to_byte_chars
from .merging import INFINITE
from .special_tokens import CONTROL_NAMES, SpecialToken, end_of_generation_ids
from .split_rules import SplitRule, split_rule
from .unicode_regex import isolating_splitter
from .words import SPACE_MARK, word_splitter

_PREFIX = "tokenizer.ggml."
# tokenizer.ggml.token_type
_UNKNOWN, _CONTROL, _USER_DEFINED, _BYTE = 2, 3, 4, 6
# gpt-oss writes its answers with these: they are part of the text
_SHOWN = ("<|channel|>", "<|message|>", "<|start|>", "<|constrain|>")


def load_gguf_vocabulary(metadata: Mapping[str, Any]) -> Tokenizer:
    """The tokenizer that a GGUF file's metadata describes.

    Args:
        metadata: keys and values of the file; arrays are lists.

    Raises:
        TokenizerError: keys are missing or broken, or the kind of vocabulary is not supported.
    """
    model = metadata.get(_PREFIX + "model")
    if model in ("gpt2", "gemma4"):
        return _load_bpe(_Vocabulary(metadata), model)
    if model == "llama":
        return _load_sentencepiece(_Vocabulary(metadata))
    if model is None:
        raise TokenizerError(
            "the model file has no tokenizer.ggml.model: it holds no vocabulary; give a "
            "tokenizer.json with the model"
        )
    raise TokenizerError(
        f"vocabularies of the kind {model!r} (tokenizer.ggml.model) are not supported; supported "
        "are: gpt2, llama, gemma4; or give a tokenizer.json with the model"
    )


class _Vocabulary:
    """The metadata, with its tables read when they are needed."""

    def __init__(self, metadata: Mapping[str, Any]) -> None:
        self._metadata = metadata
        self.tokens: list[str] = self.table("tokens")
        if not self.tokens or not isinstance(self.tokens[0], str):
            raise TokenizerError("the vocabulary (tokenizer.ggml.tokens) is empty or not text")
        self.ids = dict(zip(self.tokens, range(len(self.tokens)), strict=True))
        types = self.table("token_type") if _PREFIX + "token_type" in metadata else None
        self._types = bytes(len(self.tokens)) if types is None else self._checked_types(types)

    def table(self, key: str) -> list[Any]:
        value = self._metadata.get(_PREFIX + key)
        if not isinstance(value, list):
            raise TokenizerError(f"the model file lacks the list {_PREFIX}{key}")
        return value

    def text(self, key: str, default: str) -> str:
        return str(self._metadata.get(_PREFIX + key) or default)

    def flag(self, key: str, default: bool) -> bool:
        return bool(self._metadata.get(_PREFIX + key, default))

    def token(self, key: str, default: int | None = None) -> int | None:
        """A special token's id, if it is in the vocabulary."""
        value = self._metadata.get(f"{_PREFIX}{key}_token_id", default)
        known = isinstance(value, int) and 0 <= value < len(self.tokens)
        return value if known else None

    def scores(self) -> Sequence[float]:
        scores = self.table("scores")
        if len(scores) < len(self.tokens):
            raise TokenizerError(
                f"the vocabulary has {len(self.tokens)} tokens and only {len(scores)} scores"
            )
        return array("f", scores)

    def special_tokens(self) -> list[SpecialToken]:
        """Tokens that are matched as they stand: control, unknown and user-defined ones."""
        types = dict.fromkeys(self._of_type(_USER_DEFINED), False)
        types |= dict.fromkeys((*self._of_type(_CONTROL), *self._of_type(_UNKNOWN)), True)
        types |= {self.ids[text]: True for text in CONTROL_NAMES if text in self.ids}
        types |= {self.ids[text]: False for text in _SHOWN if text in self.ids}
        # llama.cpp knows no per-token settings from the file, and treats this family by its name
        is_phi3 = any(
            name in str(self._metadata.get("general.name", "")).lower()
            for name in ("phi-3", "phi3")
        )
        without_strip = ("<unk>", "<s>", "<|endoftext|>")
        return [
            SpecialToken(
                self.tokens[token],
                token,
                is_control,
                rstrip=is_phi3 and self.tokens[token] not in without_strip,
            )
            for token, is_control in sorted(types.items())
        ]

    def byte_tokens(self) -> dict[str, bytes]:
        """Tokens that stand for one byte each."""
        texts = [self.tokens[token] for token in self._of_type(_BYTE)]
        return {text: byte for text in texts if (byte := byte_of_token(text)) is not None}

    def _of_type(self, number: int) -> list[int]:
        found = []
        at = self._types.find(number)
        while at >= 0:
            found.append(at)
            at = self._types.find(number, at + 1)
        return found

    def _checked_types(self, types: list[int]) -> bytes:
        if len(types) < len(self.tokens):
            raise TokenizerError(
                f"the vocabulary has {len(self.tokens)} tokens and only {len(types)} types"
            )
        try:
            return bytes(types[: len(self.tokens)])
        except (TypeError, ValueError):
            raise TokenizerError("tokenizer.ggml.token_type holds an impossible type") from None


def _load_bpe(vocabulary: _Vocabulary, model: str) -> Tokenizer:
    name = "gemma4" if model == "gemma4" else vocabulary.text("pre", "default")
    rule = split_rule(name)
    encoder = _Lazy(lambda: _bpe_encoder(vocabulary, rule))
    text_to_bytes: Callable[[str], bytes]
    if rule.byte_level:
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
        add_bos=rule.add_bos,
        leading_spaces=0,
    )


def _load_sentencepiece(vocabulary: _Vocabulary) -> Tokenizer:
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


class _Lazy:
    """Builds the encoder's tables at the first text, not while a model loads."""

    def __init__(self, build: Callable[[], TextEncoder]) -> None:
        self._build = build
        self._encode: TextEncoder | None = None

    def __call__(self, text: str, at_start: bool, parse_special: bool) -> list[int]:
        if self._encode is None:
            self._encode = self._build()
        return self._encode(text, at_start, parse_special)


def _tokenizer(
    vocabulary: _Vocabulary,
    *,
    encode_text: TextEncoder,
    text_to_bytes: Callable[[str], bytes],
    bos_default: int | None,
    eos_default: int | None,
    add_bos: bool,
    leading_spaces: int,
) -> Tokenizer:
    bos = vocabulary.token("bos", bos_default)
    eos = vocabulary.token("eos", eos_default)
    add_bos = vocabulary.flag("add_bos_token", add_bos)
    add_eos = vocabulary.flag("add_eos_token", False)
    special_tokens = vocabulary.special_tokens()
    as_they_stand = {token.text for token in special_tokens}

    def to_bytes(text: str) -> bytes:
        if text in as_they_stand:
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
        suffix_ids=[eos] if add_eos and eos is not None else [],
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
    )


def _bpe_encoder(vocabulary: _Vocabulary, rule: SplitRule) -> TextEncoder:
    ids = vocabulary.ids
    split = isolating_splitter(rule.patterns)

    def known_parts(symbol: str) -> list[int]:
        """What llama.cpp does with a symbol that is no token: its parts that are, or nothing."""
        found = ids.get(symbol)
        if found is not None:
            return [found]
        if not rule.byte_level:
            return byte_token_ids(ids, symbol) or []
        return [ids[char] for char in symbol if char in ids]

    words = WordEncoder(
        list,
        rank_cost(vocabulary.table("merges")),
        known_parts,
        ids if rule.ignore_merges else None,
    )
    if rule.byte_level:
        return lambda text, *_: words.encode(map(text_to_byte_chars, split(text)))
    return lambda text, *_: words.encode(split(text.replace(" ", SPACE_MARK)))


def _sentencepiece_encoder(vocabulary: _Vocabulary, add_space_prefix: bool) -> TextEncoder:
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

    words = WordEncoder(list, cost, known_or_bytes)
    split = word_splitter(vocabulary.tokens)

    def encode(text: str, *_: bool) -> list[int]:
        if add_space_prefix:
            text = " " + text
        return words.encode(split(text.replace(" ", SPACE_MARK)))

    return encode


def _spaced_to_bytes(byte_tokens: dict[str, bytes]) -> Callable[[str], bytes]:
    """Bytes of a token whose spaces are written as U+2581."""

    def text_to_bytes(text: str) -> bytes:
        found = byte_tokens.get(text)
        if found is not None:
            return found
        return text.replace(SPACE_MARK, " ").encode("utf-8", "surrogateescape")

    return text_to_bytes
