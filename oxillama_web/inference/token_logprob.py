"""A token and its log-probability, as OpenAI's API and a page's messages write them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ..tokenizer import Tokenizer

# JSON has no infinity.
MIN_LOGPROB = -9999.0


def token_logprob(tokenizer: Tokenizer, token: int, logprob: float) -> dict[str, Any]:
    """Return the token's text, its bytes and its log-probability, for JSON."""
    data = tokenizer.token_bytes(token)
    return {
        "token": data.decode("utf-8", "replace"),
        "bytes": list(data),
        "logprob": max(logprob, MIN_LOGPROB),
    }
