"""`/v1/rerank`: documents in the order in which they answer a query, as Jina's and Cohere's API."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from ..inference.rerank import rerank
from ..validation import Check, any_text, boolean, integer, refuse
from .parameters import read_parameters, required

if TYPE_CHECKING:
    from ..inference.generation import CancelEvent
    from ..inference.model import LoadedModel
    from .answers import Json, Steps
    from .conversations import Conversations


def _documents(name: str, value: Any) -> list[str]:
    """A list of texts, or of objects with a text."""
    allowed = 'a list of texts, or of objects such as {"text": "..."}'
    if not isinstance(value, (list, tuple)) or not value:
        refuse(name, value, allowed)
    texts = []
    for each in value:
        text = each.get("text") if isinstance(each, Mapping) else each
        if not isinstance(text, str):
            refuse(name, value, allowed)
        texts.append(text)
    return texts


_CHECKS: dict[str, Check] = {
    "query": any_text,
    "documents": _documents,
    "model": any_text,
    "top_n": integer(1),
    "return_documents": boolean,
}


def create_ranking(conversations: Conversations, request: Any, cancel: CancelEvent | None) -> Steps:
    """Begin to rank the documents, which takes one step; see `OpenAI.steps`."""
    parameters = read_parameters(request, _CHECKS)
    query, documents = required(parameters, "query"), required(parameters, "documents")
    return _rank(conversations.engine.model, parameters, query, documents)


def _rank(model: LoadedModel, parameters: Json, query: str, documents: list[str]) -> Steps:
    yield []  # so that what is wrong with the request is told before it is computed
    ranking = rerank(model, query, documents, parameters.get("top_n"))
    results: list[Json] = [asdict(document) for document in ranking.documents]
    if parameters.get("return_documents"):
        for result in results:
            result["document"] = {"text": documents[result["index"]]}
    return {
        "object": "list",
        "model": parameters.get("model", model.config.name),
        "results": results,
        "usage": {"prompt_tokens": ranking.n_tokens, "total_tokens": ranking.n_tokens},
    }
