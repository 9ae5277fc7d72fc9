"""The "model" of a tokenizer.json: the vocabulary, and how pre-tokens become token ids."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any, NamedTuple

from ..errors import TokenizerError
from .bpe import bpe_encoder, byte_token_ids, rank_cost
from .json_node import Node, finite_numbers
from .metaspace import METASPACE, pre_token_splitter
from .unigram import UnigramModel
from .word_piece import WordPieceModel

MAX_ID = (1 << 31) - 1
_MAX_LENGTH = (1 << 32) - 1


class Model(NamedTuple):
    """A vocabulary and its encoder.

    Attributes:
        ids: maps each token's text to its id.
        encode: pre-tokens to token ids.
    """

    ids: Mapping[str, int]
    encode: Callable[[Iterable[str]], list[int]]


def build_model(node: Node) -> Model:
    """Return what a "model" object describes.

    Raises:
        TokenizerError: it is broken, or its type is not supported.
    """
    # files from before the field existed hold byte-pair encoding, the only model with merges
    default = "BPE" if "merges" in node else None
    return node.choice("type", _BUILDERS, "model", default)(node)


def _unigram(node: Node) -> Model:
    vocabulary = node.member("vocab")
    entries = vocabulary.list_value()
    if not (set(map(type, entries)) <= {list} and set(map(len, entries)) <= {2}):
        raise vocabulary.error("is not a list of pairs of a text and a score")
    texts = [text for text, _ in entries]
    if not set(map(type, texts)) <= {str}:
        raise vocabulary.error("holds a token that is no text")
    numbers = finite_numbers(vocabulary, [score for _, score in entries])
    ids = {text: token for token, text in enumerate(texts)}
    scores = dict(zip(texts, numbers, strict=True))
    unknown = None
    if "unk_id" in node:
        unknown = node.integer("unk_id", 0, max(len(texts) - 1, 0))
    return Model(ids, UnigramModel(ids, scores, unknown, node.flag("byte_fallback")).encode)


def _word_piece(node: Node) -> Model:
    ids = _vocabulary(node)
    unknown = node.text("unk_token", "[UNK]")
    if unknown not in ids:
        raise node.error(f"has no token {unknown!r}, which it names as unk_token")
    prefix = node.text("continuing_subword_prefix", "##")
    max_length = node.integer("max_input_chars_per_word", 0, _MAX_LENGTH, 100)
    return Model(ids, WordPieceModel(ids, ids[unknown], prefix, max_length).encode)


def _vocabulary(node: Node) -> dict[str, int]:
    """Return the "vocab" of texts to ids."""
    vocabulary = node.member("vocab")
    ids: dict[str, int] = vocabulary.object_value()
    if not set(map(type, ids.values())) <= {int}:
        raise vocabulary.error("holds an id that is no whole number")
    if ids and not 0 <= min(ids.values()) <= max(ids.values()) <= MAX_ID:
        raise vocabulary.error("holds an id that is negative or too great")
    return ids


def _bpe(node: Node) -> Model:
    if "continuing_subword_prefix" in node and node.text("continuing_subword_prefix"):
        raise node.error("has a continuing_subword_prefix, which is not supported for BPE")
    ids = _vocabulary(node)
    suffix = node.text("end_of_word_suffix", "")
    ignore_merges = node.flag("ignore_merges")

    def to_ids(symbol: str) -> list[int]:
        if symbol not in ids:
            raise TokenizerError(
                f"the tokenizer.json is broken: model.vocab has no {symbol[:100]!r}, which its "
                "merges or its unk_token make"
            )
        return [ids[symbol]]

    encoder = bpe_encoder(
        _to_symbols(node, ids, suffix), _cost(node), to_ids, ids if ignore_merges else None
    )
    if METASPACE not in ids or suffix or ignore_merges:
        return Model(ids, encoder.encode)
    split = pre_token_splitter(ids)
    return Model(
        ids, lambda pieces: encoder.encode(part for piece in pieces for part in split(piece))
    )


def _cost(node: Node) -> Callable[[str, str], float]:
    merges = node.member("merges")
    pairs: list[Any] = merges.list_value()
    types = set(map(type, pairs))
    if types <= {str}:
        return rank_cost(pairs)
    try:
        if types <= {list} and set(map(len, pairs)) <= {2}:
            # symbols may hold spaces, so another character is between them
            return rank_cost(map("\0".join, pairs), "\0")
    except TypeError:
        pass  # an item of a pair is no text
    raise merges.error("is not a list of pairs of texts")


def _to_symbols(node: Node, ids: Mapping[str, int], suffix: str) -> Callable[[str], list[str]]:
    """Return what splits a pre-token into the symbols that are merged."""
    unknown = node.text("unk_token") if "unk_token" in node else None
    byte_fallback = node.flag("byte_fallback")
    fuse_unknown = node.flag("fuse_unk")

    def to_symbols(pre_token: str) -> list[str]:
        symbols = list(pre_token)
        if symbols:
            symbols[-1] += suffix
        if all(symbol in ids for symbol in symbols):
            return symbols
        known: list[str] = []
        was_unknown = False
        for symbol in symbols:
            is_unknown = False
            if symbol in ids:
                known.append(symbol)
            elif byte_fallback and byte_token_ids(ids, symbol):
                known += [f"<0x{byte:02X}>" for byte in symbol.encode()]
            elif unknown is not None:
                is_unknown = True
                if not (fuse_unknown and was_unknown):
                    known.append(unknown)
            was_unknown = is_unknown
        return known

    return to_symbols


_BUILDERS: dict[str, Callable[[Node], Model]] = {
    "BPE": _bpe,
    "Unigram": _unigram,
    "WordPiece": _word_piece,
}
