"""Tokenizers from Hugging Face's tokenizer.json, as the `tokenizers` library runs them.

Text is cut at added tokens, normalized and split into pre-tokens, and each pre-token goes through
the model: byte-pair encoding, Unigram or WordPiece. The format:
https://github.com/huggingface/tokenizers.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import NamedTuple

from ..errors import TokenizerError
from .decoders import build_decoder
from .json_models import MAX_ID, Model, build_model
from .json_node import Node, read_json
from .normalizers import Normalizer
from .pre_tokenizers import PreTokenizer
from .special_tokens import (
    SpecialToken,
    SpecialTokenSplitter,
    end_of_generation_ids,
    find_fill_marks,
)
from .tokenizer import TextEncoder, Tokenizer

# Ids may have gaps, but there are at most so many more than tokens, or twice as many.
_MAX_GAPS = 1 << 16
# The HF tokenizers backend gets no file that makes a text longer than this many times.
_MAX_BACKEND_GROWTH = 100
# most likely first; used if neither the caller nor the file's template names any
_BOS_NAMES = ("<|begin_of_text|>", "<bos>", "<s>", "<|startoftext|>", "<｜begin▁of▁sentence｜>")
_EOS_NAMES = (
    "<eos>",
    "</s>",
    "<｜end▁of▁sentence｜>",
    "<|end_of_text|>",
    "<|im_end|>",
    "<|endoftext|>",
)


def load(
    text: str | bytes,
    bos_id: int | None = None,
    eos_id: int | None = None,
    *,
    use_library: bool = False,
) -> Tokenizer:
    """See load_tokenizer_json in __init__.py."""
    root = read_json(text)
    model = build_model(root.member("model"))
    added = [_added_token(token) for token in root.items("added_tokens")]
    normalizer = Normalizer(_part(root, "normalizer"))
    normalized = [
        token._replace(text=normalizer(token.text)) for token in added if token.normalized
    ]
    tokens = _by_id(model.ids, [*added, *normalized])
    control_ids = {token.text: token.id for token in added if token.is_control}
    prefix, suffix, between = _template(_part(root, "post_processor"), len(tokens))
    if bos_id is None:
        bos_id = prefix[0] if prefix else _first_known(_BOS_NAMES, control_ids)
    if eos_id is None:
        eos_id = suffix[-1] if suffix else _first_known(_EOS_NAMES, control_ids)
    decoder = build_decoder(_part(root, "decoder"))
    pre_tokenizer = PreTokenizer(_part(root, "pre_tokenizer"))
    ids = {**model.ids, **{token.text: token.id for token in added}}
    tokenizer = Tokenizer(
        tokens,
        encode_text=_text_encoder(normalizer, pre_tokenizer, model, normalized),
        text_to_bytes=decoder.to_bytes,
        special_tokens=added,
        longest_first=False,
        bos_id=bos_id,
        eos_id=eos_id,
        prefix_ids=prefix,
        suffix_ids=suffix,
        separator_ids=between,
        eog_ids=end_of_generation_ids(ids, (eos_id,)),
        leading_spaces=decoder.leading_spaces,
        fill_marks=find_fill_marks(ids),
    )
    if use_library and _suits_library(normalizer, pre_tokenizer):
        from .hf_backend import find_hf_backend

        tokenizer.hf_backend = find_hf_backend(text, added)
    return tokenizer


def _suits_library(normalizer: Normalizer, pre_tokenizer: PreTokenizer) -> bool:
    """Return whether no text becomes much longer or takes long, for the library has no limits."""
    if normalizer.growth * pre_tokenizer.growth > _MAX_BACKEND_GROWTH:
        return False
    return all(regex.is_quick() for regex in normalizer.regexes + pre_tokenizer.regexes)


def _part(root: Node, key: str) -> Node | None:
    return root.member(key) if key in root else None


def _text_encoder(
    normalizer: Normalizer,
    pre_tokenizer: PreTokenizer,
    model: Model,
    tokens: list[SpecialToken],
) -> TextEncoder:
    """Return an encoder; `tokens` are matched in normalized text."""
    splitters = {
        parse_special: SpecialTokenSplitter(
            token for token in tokens if parse_special or not token.is_control
        )
        for parse_special in (False, True)
    }

    def encode(text: str, at_start: bool, parse_special: bool) -> list[int]:
        ids: list[int] = []
        parts = splitters[parse_special].split_leftmost(normalizer(text))
        for index, part in enumerate(parts):
            if isinstance(part, SpecialToken):
                ids.append(part.id)
            else:
                ids += model.encode(pre_tokenizer(part, at_start and index == 0))
        return ids

    return encode


def _added_token(node: Node) -> SpecialToken:
    return SpecialToken(
        node.text("content"),
        node.integer("id", 0, MAX_ID),
        is_control=node.flag("special"),
        lstrip=node.flag("lstrip"),
        rstrip=node.flag("rstrip"),
        single_word=node.flag("single_word"),
        normalized=node.flag("normalized"),
    )


class _Template(NamedTuple):
    """The token ids that a "post_processor" puts before, after and between texts."""

    prefix: list[int]
    suffix: list[int]
    between: list[int]


def _template(node: Node | None, n_tokens: int) -> _Template:
    if node is None:
        return _Template([], [], [])
    return node.choice("type", _TEMPLATES, "post-processor")(node, n_tokens)


def _no_template(_: Node, __: int) -> _Template:
    return _Template([], [], [])


def _sequence(node: Node, n_tokens: int) -> _Template:
    templates = [_template(step, n_tokens) for step in node.items("processors")]
    return _Template(
        [token for template in reversed(templates) for token in template.prefix],
        [token for template in templates for token in template.suffix],
        [token for template in templates for token in template.between],
    )


def _bert(node: Node, n_tokens: int) -> _Template:
    found = []
    for key in ("cls", "sep"):
        pair = node.items(key)
        if len(pair) != 2:
            raise node.member(key).error("is not a pair of a text and an id")
        found.append([pair[1].integer_value(0, n_tokens - 1)])
    return _Template(found[0], found[1], found[1])


def _roberta(node: Node, n_tokens: int) -> _Template:
    template = _bert(node, n_tokens)
    return template._replace(between=template.suffix * 2)


def _pieces(node: Node, n_tokens: int) -> _Template:
    prefix, suffix = _around_sequences(node, "single", 1, n_tokens)
    between: list[int] = []
    if "pair" in node:
        _, between, _ = _around_sequences(node, "pair", 2, n_tokens)
    return _Template(prefix, suffix, between)


def _around_sequences(node: Node, key: str, n_sequences: int, n_tokens: int) -> list[list[int]]:
    """Return the tokens before, between and after the sequences of a template."""
    sides: list[list[int]] = [[] for _ in range(n_sequences + 1)]
    side = 0
    for piece in node.items(key):
        if "Sequence" in piece:
            side = min(side + 1, n_sequences)
        else:
            name = piece.member("SpecialToken").text("id")
            ids = node.member("special_tokens").member(name).items("ids")
            sides[side].extend(token.integer_value(0, n_tokens - 1) for token in ids)
    return sides


_TEMPLATES: dict[str, Callable[[Node, int], _Template]] = {
    "ByteLevel": _no_template,
    "Sequence": _sequence,
    "RobertaProcessing": _roberta,
    "BertProcessing": _bert,
    "TemplateProcessing": _pieces,
}


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
            f"{texts[last][:100]!r}, {last}, is too great for {len(texts)} tokens"
        )
    return [texts.get(token, "") for token in range(last + 1)]


def _first_known(names: Iterable[str], ids: Mapping[str, int]) -> int | None:
    return next((ids[name] for name in names if name in ids), None)
