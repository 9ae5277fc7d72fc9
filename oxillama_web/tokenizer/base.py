"""The interface of every tokenizer: text to token ids and back, and text that grows id by id."""

from __future__ import annotations

import codecs
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING

from ..errors import TokenizerError
from .special_tokens import SpecialToken, SpecialTokenSplitter

if TYPE_CHECKING:
    from .library import WholeTextEncoder

# (text between special tokens, whether it starts the whole text, encode's parse_special) to ids
TextEncoder = Callable[[str, bool, bool], list[int]]


class Tokenizer:
    """Text to token ids and back. Made by load_gguf_vocabulary or load_tokenizer_json.

    Attributes:
        n_vocab: number of tokens; ids are 0 to n_vocab - 1.
        bos_id, eos_id: the tokens of a text's beginning and end, or None.
        add_bos, add_eos: whether the vocabulary wants them around a text.
        eog_ids: every token that ends an answer.
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
    ) -> None:
        """`leading_spaces`: most spaces that decoding takes from the front of the first token."""
        self.n_vocab = len(tokens)
        self.bos_id = bos_id
        self.eos_id = eos_id
        self.add_bos = bool(prefix_ids)
        self.add_eos = bool(suffix_ids)
        self.eog_ids = eog_ids
        self._tokens = tokens
        self._encode_text = encode_text
        self._text_to_bytes = text_to_bytes
        self._special = {token.id: token for token in special_tokens}
        self._longest_first = longest_first
        self._prefix_ids = list(prefix_ids)
        self._suffix_ids = list(suffix_ids)
        self._leading_spaces = leading_spaces
        self._splitters: dict[bool, SpecialTokenSplitter] = {}
        self._bytes: dict[int, bytes] = {}
        # encodes all that lies between BOS and EOS, in place of the parts above
        self.whole_text_encoder: WholeTextEncoder | None = None

    def encode(
        self,
        text: str,
        add_bos: bool | None = None,
        parse_special: bool = True,
        add_eos: bool | None = None,
    ) -> list[int]:
        """Token ids of a text.

        Args:
            text: lone surrogates in it become U+FFFD.
            add_bos: put the beginning-of-text token first; None does as the vocabulary wants.
            parse_special: read control tokens such as <|im_end|> in the text as tokens. Without it
                they are plain text: use that for text from a source that is not trusted.
            add_eos: put the end-of-text token last; None does as the vocabulary wants.

        Raises:
            TokenizerError: BOS or EOS is asked for and the vocabulary has none.
        """
        if not text.isascii():
            text = _well_formed(text)
        ids = self._around(add_bos, self.add_bos, self._prefix_ids, self.bos_id, "BOS")
        if self.whole_text_encoder is not None:
            ids += self.whole_text_encoder(text, parse_special)
        else:
            for index, part in enumerate(self._split_special(text, parse_special)):
                if isinstance(part, SpecialToken):
                    ids.append(part.id)
                else:
                    ids += self._encode_text(part, index == 0, parse_special)
        ids += self._around(add_eos, self.add_eos, self._suffix_ids, self.eos_id, "EOS")
        return ids

    def decode(self, ids: Iterable[int], skip_special: bool = True) -> str:
        """Text of token ids; bytes that are no UTF-8 become U+FFFD, unknown ids are left out.

        `skip_special` leaves out control tokens. A SentencePiece vocabulary's space before the
        first word is not part of the text.
        """
        decoder = self.stream_decoder(skip_special=skip_special)
        return "".join(map(decoder.push, ids)) + decoder.finish()

    def stream_decoder(
        self, skip_special: bool = True, continues_text: bool = False
    ) -> StreamDecoder:
        """A decoder for ids that come one at a time.

        `continues_text`: the ids go on from text that was there before, so a space before the first
        word stays.
        """
        return StreamDecoder(self, skip_special, 0 if continues_text else self._leading_spaces)

    def token_bytes(self, token: int) -> bytes:
        """Bytes of one token, as it stands inside of a text; a control token's are its name.

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
        """token_bytes of every id, in order: as many as n_vocab."""
        return list(map(self.token_bytes, range(self.n_vocab)))

    def is_control(self, token: int) -> bool:
        """Whether the token is a control token, which is not part of a text."""
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
        """What goes before or behind a text."""
        if not (default if wanted is None else wanted):
            return []
        if ids:
            return list(ids)
        if single is None:
            raise TokenizerError(f"the vocabulary has no {name} token to add")
        return [single]


class StreamDecoder:
    """Turns ids into text as they come: never half a character, and none is lost.

    All that push() and finish() return, joined, is what decode() returns for all ids.
    """

    def __init__(self, tokenizer: Tokenizer, skip_special: bool, leading_spaces: int) -> None:
        self._tokenizer = tokenizer
        self._skip_special = skip_special
        self._leading_spaces = leading_spaces
        self._utf8 = codecs.getincrementaldecoder("utf-8")("replace")

    def push(self, token: int) -> str:
        """The text that is certain once this token is known."""
        tokenizer = self._tokenizer
        if not 0 <= token < tokenizer.n_vocab:
            return ""
        if self._skip_special and tokenizer.is_control(token):
            return ""
        data = tokenizer.token_bytes(token)
        if self._leading_spaces:
            n_spaces = len(data) - len(data.lstrip(b" "))
            data = data[min(n_spaces, self._leading_spaces) :]
            self._leading_spaces = 0
        return self._utf8.decode(data)

    def finish(self) -> str:
        """The rest: U+FFFD if the ids ended inside of a character."""
        return self._utf8.decode(b"", final=True)


def _well_formed(text: str) -> str:
    """Pairs of surrogates become the characters they stand for, lone ones U+FFFD."""
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
