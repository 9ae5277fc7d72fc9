"""Tokenizers, whatever their vocabulary: text to token ids and back, at once or id by id."""

from __future__ import annotations

import codecs
from collections.abc import Callable, Collection, Iterable, Sequence
from typing import TYPE_CHECKING

from ..errors import TokenizerError
from .special_tokens import FillMarks, SpecialToken, SpecialTokenSplitter

if TYPE_CHECKING:
    from .hf_backend import HFBackend

# Encodes text between special tokens. Arguments: the text, whether it starts the whole text, and
# `parse_special` of Tokenizer.encode.
TextEncoder = Callable[[str, bool, bool], list[int]]


class Tokenizer:
    """Text to token ids and back; load_gguf_vocabulary and load_tokenizer_json make one.

    Attributes:
        n_vocab: number of tokens; ids are 0 to n_vocab - 1.
        bos_id, eos_id: the tokens of a text's beginning and end, or None.
        add_bos, add_eos: whether the vocabulary wants these tokens around a text.
        eog_ids: every token that ends an answer.
        fill_marks: the marks of a prompt with a gap, if the vocabulary has them.
    """

    def __init__(
        self,
        tokens: Sequence[str],
        *,
        encode_text: TextEncoder,
        text_to_bytes: Callable[[str], bytes],
        special_tokens: Iterable[SpecialToken],
        longest_first: bool,
        bos_id: int | None,
        eos_id: int | None,
        prefix_ids: Sequence[int],
        suffix_ids: Sequence[int],
        eog_ids: frozenset[int],
        leading_spaces: int,
        separator_ids: Sequence[int] = (),
        fill_marks: FillMarks | None = None,
    ) -> None:
        """Store the parts of a tokenizer.

        Args:
            tokens: each id's text, as the vocabulary writes it.
            encode_text: encodes the text between special tokens.
            text_to_bytes: a token's text to the UTF-8 bytes that it stands for.
            special_tokens: tokens that are cut out of a text before it is encoded.
            longest_first: cut out the longest special token first, as llama.cpp does; otherwise
                the leftmost.
            prefix_ids, suffix_ids: put before and after a text.
            eog_ids: every token that ends an answer.
            leading_spaces: the most spaces that decoding removes from the start of a text.
            separator_ids: put between the two texts of a pair.
            fill_marks: see above.
        """
        self.n_vocab = len(tokens)
        self.bos_id = bos_id
        self.eos_id = eos_id
        self.add_bos = bool(prefix_ids)
        self.add_eos = bool(suffix_ids)
        self.eog_ids = eog_ids
        self.fill_marks = fill_marks
        self._tokens = tokens
        self._encode_text = encode_text
        self._text_to_bytes = text_to_bytes
        self._special = {token.id: token for token in special_tokens}
        self._longest_first = longest_first
        self._prefix_ids = list(prefix_ids)
        self._suffix_ids = list(suffix_ids)
        self._leading_spaces = leading_spaces
        self._separator_ids = list(separator_ids)
        self._splitters: dict[bool, SpecialTokenSplitter] = {}
        self._bytes: dict[int, bytes] = {}
        # encodes everything between BOS and EOS, in place of the parts above
        self.hf_backend: HFBackend | None = None

    def encode(
        self,
        text: str,
        add_bos: bool | None = None,
        parse_special: bool = True,
        add_eos: bool | None = None,
    ) -> list[int]:
        """Return the token ids of a text.

        Args:
            text: what to encode; lone surrogates become U+FFFD.
            add_bos: put the beginning-of-text token first; None leaves that to the vocabulary.
            parse_special: read control tokens such as <|im_end|> in the text as tokens. If False,
                they are plain text; use that for text from a source that you do not trust.
            add_eos: put the end-of-text token last; None leaves that to the vocabulary.

        Raises:
            TokenizerError: BOS or EOS is requested, but the vocabulary has none.
        """
        if not text.isascii():
            text = _well_formed(text)
        ids = self._around(add_bos, self.add_bos, self._prefix_ids, self.bos_id, "BOS")
        found = None if self.hf_backend is None else self.hf_backend(text, parse_special)
        ids += self._encode(text, parse_special) if found is None else found
        ids += self._around(add_eos, self.add_eos, self._suffix_ids, self.eos_id, "EOS")
        return ids

    def encode_pair(self, first: str, second: str) -> list[int] | None:
        """Return the ids of two plain texts as one, or None if the vocabulary does not join texts.

        Control tokens that the texts spell out stay plain text.
        """
        if not self._separator_ids:
            return None
        a, b = (self.encode(text, False, False, False) for text in (first, second))
        return [*self._prefix_ids, *a, *self._separator_ids, *b, *self._suffix_ids]

    def encode_inside(self, text: str) -> list[int]:
        """Return ids whose bytes are those of a plain text inside a longer one.

        Some vocabularies put a space before every text. So the text is also read after a line
        break, whose ids are then left out. Where both change the text, no ids are returned.
        """
        data = text.encode("utf-8", "replace")
        for before in ("", "\n"):
            ids = self.encode(before + text, False, False, False)
            for start in range(len(ids) + 1):
                if b"".join(map(self.token_bytes, ids[start:])) == data:
                    return ids[start:]
        return []

    def _encode(self, text: str, parse_special: bool) -> list[int]:
        ids: list[int] = []
        for index, part in enumerate(self._split_special(text, parse_special)):
            if isinstance(part, SpecialToken):
                ids.append(part.id)
            else:
                ids += self._encode_text(part, index == 0, parse_special)
        return ids

    def decode(self, ids: Iterable[int], skip_special: bool = True) -> str:
        """Return the text of token ids, without the space that SentencePiece puts before a text.

        Bytes that are not UTF-8 become U+FFFD; unknown ids are left out.

        Args:
            ids: the token ids.
            skip_special: leave out control tokens.
        """
        decoder = self.stream_decoder(skip_special=skip_special)
        return "".join(map(decoder.push, ids)) + decoder.finish()

    def stream_decoder(
        self,
        skip_special: bool = True,
        continues_text: bool = False,
        visible: Collection[int] = (),
    ) -> StreamDecoder:
        """Return a decoder for ids that arrive one at a time.

        Args:
            skip_special: leave out control tokens.
            continues_text: the ids continue an earlier text, so a space before the first word
                stays.
            visible: control tokens that are not left out.
        """
        leading_spaces = 0 if continues_text else self._leading_spaces
        return StreamDecoder(self, skip_special, leading_spaces, visible)

    def token_bytes(self, token: int) -> bytes:
        """Return the bytes of one token inside a text; those of a control token are its name.

        Raises:
            TokenizerError: there is no such id.
        """
        found = self._bytes.get(token)
        if found is None:
            if not 0 <= token < self.n_vocab:
                raise TokenizerError(
                    f"token {token} is not in the vocabulary, whose ids are 0 to {self.n_vocab - 1}"
                )
            found = self._bytes[token] = self._text_to_bytes(self._tokens[token])
        return found

    def vocab_bytes(self) -> list[bytes]:
        """Return token_bytes of every id, in order: `n_vocab` of them."""
        return list(map(self.token_bytes, range(self.n_vocab)))

    def is_control(self, token: int) -> bool:
        """Return whether the token is a control token, which is not part of a text."""
        special = self._special.get(token)
        return special is not None and special.is_control

    def _split_special(self, text: str, parse_special: bool) -> list[str | SpecialToken]:
        splitter = self._splitters.get(parse_special)
        if splitter is None:
            splitter = self._splitters[parse_special] = SpecialTokenSplitter(
                token
                for token in self._special.values()
                if not token.normalized and (parse_special or not token.is_control)
            )
        if self._longest_first:
            return splitter.split_longest_first(text)
        return splitter.split_leftmost(text)

    @staticmethod
    def _around(
        wanted: bool | None, default: bool, ids: list[int], single: int | None, name: str
    ) -> list[int]:
        """Return the ids to put before or after a text."""
        if not (default if wanted is None else wanted):
            return []
        if ids:
            return list(ids)
        if single is None:
            raise TokenizerError(f"the vocabulary has no {name} token to add")
        return [single]


class StreamDecoder:
    """Turns ids into text as they arrive, without ever splitting or losing a character.

    The texts that push() and finish() return, joined, are what decode() returns for all ids.
    """

    def __init__(
        self,
        tokenizer: Tokenizer,
        skip_special: bool,
        leading_spaces: int,
        visible: Collection[int] = (),
    ) -> None:
        self._tokenizer = tokenizer
        self._visible = visible
        self._skip_special = skip_special
        self._leading_spaces = leading_spaces
        self._utf8 = codecs.getincrementaldecoder("utf-8")("replace")

    @property
    def is_whole(self) -> bool:
        """Whether the ids so far end with a whole character."""
        return not self._utf8.getstate()[0]

    def push(self, token: int) -> str:
        """Return the text that is certain once this token is known."""
        tokenizer = self._tokenizer
        if not 0 <= token < tokenizer.n_vocab:
            return ""
        if self._skip_special and tokenizer.is_control(token) and token not in self._visible:
            return ""
        data = tokenizer.token_bytes(token)
        if self._leading_spaces:
            n_spaces = len(data) - len(data.lstrip(b" "))
            data = data[min(n_spaces, self._leading_spaces) :]
            self._leading_spaces = 0
        return self._utf8.decode(data)

    def finish(self) -> str:
        """Return the rest: U+FFFD if the ids ended inside a character."""
        return self._utf8.decode(b"", final=True)


def _well_formed(text: str) -> str:
    """Replace pairs of surrogates by the characters they stand for, lone ones by U+FFFD."""
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
