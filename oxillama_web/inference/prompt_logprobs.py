"""How probable a model finds the tokens of a text that it is given."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..errors import ContextLengthError
from .generation import LogProbs, log_probs

if TYPE_CHECKING:
    from collections.abc import Sequence

    from .model import LoadedModel

# Each token of a pass has logits for the whole vocabulary.
_CHUNK = 32


def prompt_logprobs(model: LoadedModel, tokens: Sequence[int], n_top: int) -> list[LogProbs | None]:
    """Return each token's log-probability after those before it; None for the first one.

    Args:
        model: no conversation with it is touched.
        tokens: the whole text.
        n_top: how many of the most probable tokens to list at each place.

    Raises:
        ContextLengthError: the text does not fit into the context.
        InvalidRequestError: a token does not exist.
        ConversationChangedError: another thread changed the model's adapters meanwhile.
    """
    if len(tokens) > model.context_size:
        raise ContextLengthError(
            f"the text has {len(tokens)} tokens, but the context takes {model.context_size}"
        )
    for token in tokens:
        model.checked_token(token)
    found: list[LogProbs | None] = [None]
    cache, version = model.executor.new_cache(), model.version
    for start in range(0, len(tokens) - 1, _CHUNK):
        chunk = tokens[start : min(start + _CHUNK, len(tokens) - 1)]
        with model.lock:
            model.require_version(version)
            logits = model.forward([(cache, chunk)], "all")
            for row in range(len(chunk)):
                following = tokens[start + row + 1]
                found.append(log_probs(logits.row(row), following, n_top, model.logits_ops))
    cache.truncate(0)
    return found[: len(tokens)]
