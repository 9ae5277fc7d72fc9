"""Tokenizers from Hugging Face's tokenizer.json, as the `tokenizers` library runs them.

Text is cut at added tokens, normalized, split into words, and each word goes through the model:
byte-pair encoding, Unigram or WordPiece. The format: https://github.com/huggingface/tokenizers.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from ..errors import TokenizerError
from .bpe import bpe_encoder, byte_token_ids, rank_cost
from .decoders import build_decoder
from .metaspace import METASPACE, pre_token_splitter
from .normalizers import Normalizer, build_normalizer
from .pre_tokenizers import build_pre_tokenizer
from .special_tokens import SpecialToken, SpecialTokenSplitter, end_of_generation_ids
from .tokenizer import TextEncoder, Tokenizer
from .unigram import UnigramModel
from .word_piece import WordPieceModel

Spec = Mapping[str, Any]
# words to token ids
_Model = Callable[[Iterable[str]], list[int]]

# Ids may have gaps, but none is greater than twice the number of tokens and this.
_MAX_GAPS = 1 << 16
# most likely first; used where the file's template and the caller name none
_BOS_NAMES = ("<|begin_of_text|>", "<bos>", "<s>", "<|startoftext|>", "<｜begin▁of▁sentence｜>")
_EOS_NAMES = (
    "<eos>",
    "</s>",
    "<｜end▁of▁sentence｜>",
    "<|end_of_text|>",
    "<|im_end|>",
    "<|endoftext|>",
)


def load(text: str | bytes, bos_id: int | None = None, eos_id: int | None = None) -> Tokenizer:
    """See load_tokenizer_json in __init__.py."""
    import json

    try:
        spec = json.loads(text)
        return _build(spec, bos_id, eos_id)
    except (KeyError, TypeError, AttributeError, ValueError, IndexError, RecursionError) as error:
        raise TokenizerError(
            f"the tokenizer.json is broken or incomplete: {type(error).__name__}: {error}"
        ) from error


def _build(spec: Spec, bos_id: int | None, eos_id: int | None) -> Tokenizer:
    vocabulary, model = _build_model(spec["model"])
    added = [_added_token(token) for token in spec.get("added_tokens") or []]
    ids = vocabulary | {token.text: token.id for token in added}
    control_ids = {token.text: token.id for token in added if token.is_control}
    prefix_ids, suffix_ids = _template(spec.get("post_processor"))
    if bos_id is None:
        bos_id = prefix_ids[0] if prefix_ids else _first_known(_BOS_NAMES, control_ids)
    if eos_id is None:
        eos_id = suffix_ids[-1] if suffix_ids else _first_known(_EOS_NAMES, control_ids)
    decoder = build_decoder(spec.get("decoder"))
    normalize = build_normalizer(spec.get("normalizer"))
    normalized = [token._replace(text=normalize(token.text)) for token in added if token.normalized]
    return Tokenizer(
        _by_id(vocabulary, [*added, *normalized]),
        encode_text=_text_encoder(normalize, spec.get("pre_tokenizer"), model, normalized),
        text_to_bytes=decoder.to_bytes,
        special_tokens=added,
        longest_first=False,
        bos_id=bos_id,
        eos_id=eos_id,
        prefix_ids=prefix_ids,
        suffix_ids=suffix_ids,
        eog_ids=end_of_generation_ids(ids, (eos_id,)),
        leading_spaces=decoder.leading_spaces,
    )


def _build_model(spec: Spec) -> tuple[dict[str, int], _Model]:
    """The vocabulary (text to id) and the function that encodes words."""
    # files from before the field existed hold byte-pair encoding, the only one with merges
    kind = spec.get("type", "BPE" if "merges" in spec else None)
    if kind == "BPE":
        return dict(spec["vocab"]), _bpe_model(spec)
    if kind == "Unigram":
        scores = {text: float(score) for text, score in spec["vocab"]}
        ids = {text: token for token, (text, _) in enumerate(spec["vocab"])}
        byte_fallback = bool(spec.get("byte_fallback"))
        return ids, UnigramModel(ids, scores, spec.get("unk_id"), byte_fallback).encode
    if kind == "WordPiece":
        ids = dict(spec["vocab"])
        prefix = spec.get("continuing_subword_prefix", "##")
        max_length = spec.get("max_input_chars_per_word", 100)
        unknown_id = ids[spec.get("unk_token", "[UNK]")]
        return ids, WordPieceModel(ids, unknown_id, prefix, max_length).encode
    raise TokenizerError(
        f"the model {kind!r} is not supported; supported are: BPE, Unigram, WordPiece"
    )


def _bpe_model(spec: Spec) -> _Model:
    if spec.get("continuing_subword_prefix"):
        raise TokenizerError("a BPE model with continuing_subword_prefix is not supported")
    ids: dict[str, int] = spec["vocab"]
    suffix = spec.get("end_of_word_suffix") or ""
    unknown = spec.get("unk_token")
    byte_fallback = bool(spec.get("byte_fallback"))
    fuse_unknown = bool(spec.get("fuse_unk"))
    ignore_merges = bool(spec.get("ignore_merges"))
    merges = spec["merges"]
    if merges and not isinstance(merges[0], str):
        # symbols may hold spaces, so another character stands between them
        cost = rank_cost(map("\0".join, merges), "\0")
    else:
        cost = rank_cost(merges)

    def to_symbols(word: str) -> list[str]:
        symbols: list[str] = list(word)
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

    encoder = bpe_encoder(
        to_symbols, cost, lambda symbol: [ids[symbol]], ids if ignore_merges else None
    )
    if METASPACE not in ids or suffix or ignore_merges:
        return encoder.encode
    split = pre_token_splitter(ids)
    return lambda pieces: encoder.encode(part for piece in pieces for part in split(piece))


def _text_encoder(
    normalize: Normalizer, pre_tokenizer: Spec | None, model: _Model, tokens: list[SpecialToken]
) -> TextEncoder:
    """`tokens` are matched in normalized text."""
    pre_tokenize = build_pre_tokenizer(pre_tokenizer)
    splitters = {
        parse_special: SpecialTokenSplitter(
            token for token in tokens if parse_special or not token.is_control
        )
        for parse_special in (False, True)
    }

    def encode(text: str, at_start: bool, parse_special: bool) -> list[int]:
        ids: list[int] = []
        parts = splitters[parse_special].split_leftmost(normalize(text))
        for index, part in enumerate(parts):
            if isinstance(part, SpecialToken):
                ids.append(part.id)
            else:
                ids += model(pre_tokenize([part], at_start and index == 0))
        return ids

    return encode


def _added_token(spec: Spec) -> SpecialToken:
    return SpecialToken(
        spec["content"],
        spec["id"],
        is_control=bool(spec.get("special")),
        lstrip=bool(spec.get("lstrip")),
        rstrip=bool(spec.get("rstrip")),
        single_word=bool(spec.get("single_word")),
        normalized=bool(spec.get("normalized")),
    )


def _template(spec: Spec | None) -> tuple[list[int], list[int]]:
    """Token ids that a "post_processor" puts before and behind a text."""
    kind = None if spec is None else spec["type"]
    if spec is None or kind == "ByteLevel":
        return [], []
    if kind == "Sequence":
        templates = [_template(step) for step in spec["processors"]]
        prefix = [token for before, _ in reversed(templates) for token in before]
        return prefix, [token for _, behind in templates for token in behind]
    if kind in ("RobertaProcessing", "BertProcessing"):
        return [spec["cls"][1]], [spec["sep"][1]]
    if kind != "TemplateProcessing":
        raise TokenizerError(f"the post-processor {kind!r} is not supported")
    sides: tuple[list[int], list[int]] = [], []
    is_behind = False
    for piece in spec["single"]:
        if "Sequence" in piece:
            is_behind = True
        else:
            name = piece["SpecialToken"]["id"]
            sides[is_behind].extend(spec["special_tokens"][name]["ids"])
    return sides


def _by_id(ids: Mapping[str, int], added: Iterable[SpecialToken]) -> list[str]:
    """Return the text of each id; an id that no token has is an empty text.

    Args:
        ids: the model's vocabulary, text to id.
        added: added tokens; the last one with an id is the one that counts. The library decodes
            those that are matched in normalized text to their normalized text.
    """
    texts = {token: text for text, token in ids.items()}
    texts |= {token.id: token.text for token in added}
    last = max(texts, default=-1)
    if last >= 2 * len(texts) + _MAX_GAPS:
        raise TokenizerError(
            "the tokenizer.json is broken or incomplete: the id of the token "
            f"{texts[last]!r}, {last}, is too great for {len(texts)} tokens"
        )
    return [texts.get(token, "") for token in range(last + 1)]


def _first_known(names: Iterable[str], ids: Mapping[str, int]) -> int | None:
    return next((ids[name] for name in names if name in ids), None)
