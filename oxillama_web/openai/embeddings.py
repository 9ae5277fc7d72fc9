"""`/v1/embeddings`: texts as vectors."""

from __future__ import annotations

import base64
from array import array
from typing import TYPE_CHECKING, Any

from ..inference.embeddings import embed_batch, normalized
from ..validation import Check, any_text, choice, integer
from .errors import invalid
from .parameters import prompts, read_parameters, required

if TYPE_CHECKING:
    from ..engine import InferenceEngine
    from ..inference.generation import CancelEvent
    from .answers import Json, Steps
    from .conversations import Conversations

_CHECKS: dict[str, Check] = {
    "input": prompts,
    "model": any_text,
    "dimensions": integer(1, 1 << 20),
    "encoding_format": choice("float", "base64"),
    "user": any_text,
}


def create_embeddings(
    conversations: Conversations, request: Any, cancel: CancelEvent | None
) -> Steps:
    """Begin to embed the inputs, which takes one step; see `OpenAI.steps`."""
    engine = conversations.engine
    parameters = read_parameters(request, _CHECKS)
    inputs = required(parameters, "input")
    size = engine.model.config.hidden_size
    width = parameters.get("dimensions", size)
    if width > size:
        raise invalid("dimensions", f"dimensions is {width}, but vectors have {size} values")
    return _embed(engine, parameters, inputs, width)


def _embed(
    engine: InferenceEngine, parameters: Json, inputs: list[str | list[int]], width: int
) -> Steps:
    yield []  # so that what is wrong with the request is told before it is computed
    vectors, token_counts = embed_batch(engine.model, inputs)
    if width < engine.model.config.hidden_size:
        # Kusupati et al. 2022, https://arxiv.org/abs/2205.13147
        vectors = [normalized(vector[:width]) for vector in vectors]
    wants_base64 = parameters.get("encoding_format") == "base64"
    n_tokens = sum(token_counts)
    return {
        "object": "list",
        "model": parameters.get("model", engine.model.config.name),
        "data": [
            {
                "object": "embedding",
                "index": index,
                "embedding": _base64(vector) if wants_base64 else vector,
            }
            for index, vector in enumerate(vectors)
        ],
        "usage": {"prompt_tokens": n_tokens, "total_tokens": n_tokens},
    }


def _base64(vector: list[float]) -> str:
    values = array("f", vector)
    return base64.b64encode(values.tobytes()).decode()
