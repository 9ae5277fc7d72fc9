"""Unigram vocabularies (T5, XLM-RoBERTa) in GGUF files, as llama.cpp encodes with them."""

from __future__ import annotations

from collections.abc import Callable

from .charsmap import CharsMap
from .gguf_tables import VocabularyTables
from .metaspace import METASPACE, pre_token_splitter
from .tokenizer import TextEncoder
from .unigram import UNKNOWN_PENALTY, UnigramModel


def unigram_encoder(vocabulary: VocabularyTables) -> TextEncoder:
    """Return the encoder of a `t5` vocabulary."""
    scores = vocabulary.scores_in_text()
    unknown_score = vocabulary.least_score() - UNKNOWN_PENALTY
    model = UnigramModel(
        vocabulary.ids, scores, vocabulary.token("unknown", 2), unknown_score=unknown_score
    )
    split = pre_token_splitter(scores)
    normalize = _normalizer(vocabulary)
    merges_spaces = vocabulary.flag("remove_extra_whitespaces", False)
    prepends = vocabulary.flag("add_space_prefix", False)

    def encode(text: str, *_: bool) -> list[int]:
        text = normalize(text)
        if merges_spaces:
            text = "".join(METASPACE + word for word in text.split(" ") if word)
        else:
            words = text.lstrip(" ")
            spaces = len(text) - len(words) + bool(prepends and words)
            text = METASPACE * spaces + words.replace(" ", METASPACE)
        return model.encode(split(text))

    return encode


def _normalizer(vocabulary: VocabularyTables) -> Callable[[str], str]:
    data = vocabulary.data("precompiled_charsmap")
    if not data:
        return lambda text: text
    charsmap = CharsMap(data)
    user_defined_end = _longest_match(vocabulary.user_defined())

    def normalize(text: str) -> str:
        """Replace the longest key at each place."""
        source = text.encode()
        parts: list[bytes] = []
        start = 0
        while start < len(source):
            end = user_defined_end(source, start)
            part = source[start:end]
            if not part:
                matches = charsmap.matches(source, start)
                end = matches[-1][0] if matches else start + _length_of_char(source[start])
                part = matches[-1][1].encode() if matches else source[start:end]
            parts.append(part)
            start = end
        return b"".join(parts).decode("utf-8", "replace")

    return normalize


def _longest_match(texts: list[str]) -> Callable[[bytes, int], int]:
    """Return a function: where does the longest of the texts that begin at a place end?

    It returns the place itself if none begins there.
    """
    if not texts:
        return lambda _, start: start
    import re

    longest_first = sorted((text.encode() for text in texts), key=len, reverse=True)
    match = re.compile(b"|".join(map(re.escape, longest_first))).match

    def end(source: bytes, start: int) -> int:
        found = match(source, start)
        return start if found is None else found.end()

    return end


def _length_of_char(first_byte: int) -> int:
    """Return the number of bytes of a character in UTF-8."""
    return 1 if first_byte < 0x80 else 2 if first_byte < 0xE0 else 3 if first_byte < 0xF0 else 4
