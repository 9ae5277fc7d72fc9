"""Log-probabilities in the two shapes that the API has: of chats, and of plain completions."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ..inference.token_logprob import MIN_LOGPROB, token_logprob

if TYPE_CHECKING:
    from ..inference.generation import LogProbs
    from ..tokenizer import Tokenizer


def chat_logprob(tokenizer: Tokenizer, token: int, logprobs: LogProbs) -> dict[str, Any]:
    """Return a token of a chat's answer, with its alternatives."""
    chosen = token_logprob(tokenizer, token, logprobs.chosen)
    return {**chosen, "top_logprobs": [token_logprob(tokenizer, *pair) for pair in logprobs.top]}


class CompletionLogProbs:
    """The log-probabilities of a plain completion: lists side by side, an entry a token."""

    def __init__(self, tokenizer: Tokenizer) -> None:
        self._tokenizer = tokenizer
        self._offset = 0
        self._lists: dict[str, list[Any]] = {}
        self.take()

    def add(self, token: int, logprobs: LogProbs | None) -> None:
        """Append a token; the first one of a text has no log-probability."""
        text = self._text(token)
        chosen = top = None
        if logprobs is not None:
            chosen = max(logprobs.chosen, MIN_LOGPROB)
            top = {self._text(other): max(value, MIN_LOGPROB) for other, value in logprobs.top}
        self._lists["tokens"].append(text)
        self._lists["token_logprobs"].append(chosen)
        self._lists["top_logprobs"].append(top)
        self._lists["text_offset"].append(self._offset)
        self._offset += len(text)

    def take(self) -> dict[str, Any]:
        """Return the lists of the tokens since the last call."""
        lists = self._lists
        names = ("tokens", "token_logprobs", "top_logprobs", "text_offset")
        self._lists = {name: [] for name in names}
        return lists

    def _text(self, token: int) -> str:
        return self._tokenizer.token_bytes(token).decode("utf-8", "replace")
