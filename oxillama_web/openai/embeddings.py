"""`/v1/embeddings`: texts as vectors."""

from __future__ import annotations

import base64
import math
from array import array
from typing import TYPE_CHECKING, Any

from .errors import invalid
from .parameters import (
    PROMPT,
    TEXT,
    Kind,
    integer,
    is_text,
    is_token_list,
    one_of,
    read_parameters,
    required,
)

if TYPE_CHECKING:
    from ..engine import InferenceEngine
    from ..inference.generation import CancelEvent
    from .answers import Json, Steps
    from .conversations import Conversations

_KINDS: dict[str, Kind] = {
    "input": PROMPT,
    "model": TEXT,
    "dimensions": integer(1, 1 << 20),
    "encoding_format": one_of("float", "base64"),
    "user": TEXT,
}


def create_embeddings(
    conversations: Conversations, request: Any, cancel: CancelEvent | None
) -> Steps:
    """Begin to embed the inputs, which takes one step; see `OpenAI.steps`."""
    engine = conversations.engine
    parameters = read_parameters(request, _KINDS)
    given = required(parameters, "input")
    inputs = [given] if is_text(given) or is_token_list(given) else list(given)
    width = parameters.get("dimensions", engine.hidden_size)
    if width > engine.hidden_size:
        raise invalid("dimensions", f"dimensions is {width}, but vectors have {engine.hidden_size}")
    return _embed(engine, parameters, inputs, width)


def _embed(
    engine: InferenceEngine, parameters: Json, inputs: list[str | list[int]], width: int
) -> Steps:
    yield []  # so that what is wrong with the request is told before it is computed
    vectors = engine.embed_batch(inputs)
    if width < engine.hidden_size:
        vectors = [_shortened(vector, width) for vector in vectors]
    wants_base64 = parameters.get("encoding_format") == "base64"
    n_tokens = sum(len(engine.tokenize(i) if isinstance(i, str) else i) for i in inputs)
    return {
        "object": "list",
        "model": parameters.get("model", engine.model_config.name),
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


def _shortened(vector: list[float], width: int) -> list[float]:
    """Return the first values, scaled to length 1 again (Kusupati et al. 2022,
    https://arxiv.org/abs/2205.13147)."""
    kept = vector[:width]
    length = math.sqrt(sum(value * value for value in kept))
    return [value / length for value in kept] if length > 0 else kept


def _base64(vector: list[float]) -> str:
    values = array("f", vector)
    return base64.b64encode(values.tobytes()).decode()
