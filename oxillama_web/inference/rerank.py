"""Documents in the order in which they answer a query, by a reranker's scores."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from ..errors import ContextLengthError, UnsupportedModelError
from ..validation import any_text, integer, optional, tuple_of
from .text_batches import compute_texts

if TYPE_CHECKING:
    from ..backends.api import Outputs
    from .model import LoadedModel

_DOCUMENTS = tuple_of(any_text, "a list of texts")
_TOP_N = optional(integer(1))


@dataclass(frozen=True, slots=True)
class RankedDocument:
    """How well a document answers the query.

    Attributes:
        index: its place in the list of documents.
        relevance_score: what the model's head gives; of a decoder the probability of the head's
            first label, such as "yes".
    """

    index: int
    relevance_score: float


class Ranking(NamedTuple):
    """Documents, the best one first, and the number of tokens that were computed for them."""

    documents: list[RankedDocument]
    n_tokens: int


def rerank(
    model: LoadedModel, query: str, documents: Sequence[str], top_n: int | None = None
) -> Ranking:
    """Score documents against a query; see `compute_texts` and `InferenceEngine.rerank`.

    Raises:
        UnsupportedModelError: the model is no reranker.
        ContextLengthError: a document and the query do not fit into the model's context.
    """
    query, documents = any_text("query", query), _DOCUMENTS("documents", documents)
    top_n = _TOP_N("top_n", top_n)
    _require_reranker(model)
    texts = [_join(model, query, document) for document in documents]
    for index, tokens in enumerate(texts):
        if len(tokens) > model.context_size:
            raise ContextLengthError(
                f"document {index} and the query have {len(tokens)} tokens, but the context takes "
                f"{model.context_size}; rank its parts"
            )

    outputs: Outputs = "first" if model.plan.is_encoder else "last"
    found = [0.0] * len(texts)
    for text, rows in compute_texts(model, texts, outputs, model.scores):
        found[text] = _score(rows[0], is_encoder=model.plan.is_encoder)
    ranked = sorted(map(RankedDocument, range(len(found)), found), key=_best_first)
    return Ranking(ranked[:top_n], sum(map(len, texts)))


def _require_reranker(model: LoadedModel) -> None:
    if not model.plan.is_reranker:
        raise UnsupportedModelError(
            f"the model {model.config.name!r} is no reranker: its file holds neither a tensor "
            f"'cls.weight' nor 'cls.output.weight'"
        )


def _join(model: LoadedModel, query: str, document: str) -> list[int]:
    """Return the ids of the text that the model scores.

    A file may have a template of it. Control tokens that a text spells out then become control
    tokens, as in a chat.
    """
    if model.rerank_template:
        parts = {"{query}": query, "{document}": document}
        text = re.sub(r"\{(query|document)\}", lambda m: parts[m[0]], model.rerank_template)
        return model.tokenizer.encode(text, add_bos=False, add_eos=False)
    ids = model.tokenizer.encode_pair(query, document)
    if ids is None:
        raise UnsupportedModelError(
            f"the file of the model {model.config.name!r} does not say how a query and a document "
            f"are joined: it has neither a separator nor tokenizer.chat_template.rerank"
        )
    return ids


def _score(labels: memoryview[float], *, is_encoder: bool) -> float:
    """Return the score of the first label; a decoder's are logits, such as those of yes and no."""
    if is_encoder:
        return labels[0]
    largest = max(labels)
    weights = [math.exp(label - largest) for label in labels]
    return weights[0] / sum(weights)


def _best_first(document: RankedDocument) -> tuple[float, int]:
    return -document.relevance_score, document.index
