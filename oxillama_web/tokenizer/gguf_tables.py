"""The `tokenizer.ggml.*` metadata of a GGUF file."""

from __future__ import annotations

from array import array
from collections.abc import Mapping, Sequence
from typing import Any

from ..errors import TokenizerError
from .bpe import byte_of_token
from .special_tokens import CONTROL_NAMES, SpecialToken

PREFIX = "tokenizer.ggml."
# tokenizer.ggml.token_type
_NORMAL, _UNKNOWN, _CONTROL, _USER_DEFINED, _BYTE = 1, 2, 3, 4, 6
# gpt-oss writes its answers with these: they are part of the text
_SHOWN = ("<|channel|>", "<|message|>", "<|start|>", "<|constrain|>")
_JINA = ("jina-v2-de", "jina-v2-es", "jina-v2-code")


class VocabularyTables:
    """The metadata; its tables are read when they are needed."""

    def __init__(self, metadata: Mapping[str, Any]) -> None:
        self._metadata = metadata
        self.tokens: list[str] = self.table("tokens")
        if not self.tokens or not set(map(type, self.tokens)) <= {str}:
            raise TokenizerError("the vocabulary (tokenizer.ggml.tokens) is empty or not text")
        self.ids = dict(zip(self.tokens, range(len(self.tokens)), strict=True))
        types = self.table("token_type") if PREFIX + "token_type" in metadata else None
        self._types = bytes(len(self.tokens)) if types is None else self._checked_types(types)

    def table(self, key: str) -> list[Any]:
        value = self._metadata.get(PREFIX + key)
        if not isinstance(value, list):
            raise TokenizerError(f"the model file lacks the list {PREFIX}{key}")
        return value

    def data(self, key: str) -> bytes:
        """Return an array of bytes, signed or not; empty if it is missing."""
        values = self._metadata.get(PREFIX + key) or []
        try:
            return bytes(value & 0xFF for value in values)
        except TypeError:
            raise TokenizerError(f"{PREFIX}{key} is not a list of bytes") from None

    def text(self, key: str, default: str) -> str:
        return str(self._metadata.get(PREFIX + key) or default)

    def flag(self, key: str, default: bool) -> bool:
        return bool(self._metadata.get(PREFIX + key, default))

    def token(self, key: str, default: int | None = None) -> int | None:
        """Return a special token's id, or None if the vocabulary has no such id."""
        value = self._metadata.get(f"{PREFIX}{key}_token_id", default)
        known = type(value) is int and 0 <= value < len(self.tokens)
        return value if known else None

    def scores(self) -> Sequence[float]:
        scores = self.table("scores")
        if len(scores) < len(self.tokens):
            raise TokenizerError(
                f"the vocabulary has {len(self.tokens)} tokens and only {len(scores)} scores"
            )
        try:
            return array("f", scores)
        except (TypeError, OverflowError):
            raise TokenizerError(f"{PREFIX}scores holds something that is no number") from None

    def merges(self) -> list[str]:
        """Return the merges, two symbols each with a space between them."""
        merges = self.table("merges")
        if not set(map(type, merges)) <= {str}:
            raise TokenizerError(f"{PREFIX}merges holds something that is no text")
        return merges

    def special_tokens(self) -> list[SpecialToken]:
        """Return the tokens that are matched literally: control, unknown and user-defined ones."""
        types = dict.fromkeys(self._of_type(_USER_DEFINED), False)
        types |= dict.fromkeys((*self._of_type(_CONTROL), *self._of_type(_UNKNOWN)), True)
        types |= {self.ids[text]: True for text in CONTROL_NAMES if text in self.ids}
        types |= {self.ids[text]: False for text in _SHOWN if text in self.ids}
        if "<|tool_response>" in self.ids and "</s>" in self.ids:  # Gemma 4, where </s> is a tag
            del types[self.ids["</s>"]]
        return [
            SpecialToken(
                text, token, is_control, self._strips_before(text), self._strips_after(text)
            )
            for token, is_control in sorted(types.items())
            for text in (self.tokens[token],)
        ]

    # The file has no settings for single tokens; llama.cpp goes by the names of these families.

    def _strips_before(self, text: str) -> bool:
        """Return whether a token takes the white space before it."""
        architecture = str(self._metadata.get("general.architecture", ""))
        pre, name = self.text("pre", ""), str(self._metadata.get("general.name", "")).lower()
        if architecture in ("nomic-bert-moe", "jina-bert-v3") or pre in _JINA:
            return text == "<mask>"
        return text == "[MASK]" and "modern-bert" in name

    def _strips_after(self, text: str) -> bool:
        """Return whether a token takes the white space after it."""
        name = str(self._metadata.get("general.name", "")).lower()
        is_phi3 = "phi-3" in name or "phi3" in name
        return is_phi3 and text not in ("<unk>", "<s>", "<|endoftext|>")

    def byte_tokens(self) -> dict[str, bytes]:
        """Return the bytes of the tokens that stand for one byte each, by their texts."""
        texts = [self.tokens[token] for token in self._of_type(_BYTE)]
        return {text: byte for text in texts if (byte := byte_of_token(text)) is not None}

    def scores_in_text(self) -> dict[str, float]:
        """Return the scores of all tokens that a text can be segmented into."""
        left_out = {*self._of_type(_CONTROL), *self._of_type(_UNKNOWN), *self._of_type(_BYTE)}
        scores = self.scores()
        found = {text: scores[token] for text, token in self.ids.items() if token not in left_out}
        return found | {self.tokens[token]: 0.0 for token in self._of_type(_USER_DEFINED)}

    def least_score(self) -> float:
        """Return the least score of the normal tokens."""
        scores = self.scores()
        return min((scores[token] for token in self._of_type(_NORMAL)), default=0.0)

    def user_defined(self) -> list[str]:
        """Return the texts of the user-defined tokens."""
        return [self.tokens[token] for token in self._of_type(_USER_DEFINED)]

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
