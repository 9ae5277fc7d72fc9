"""The API's front: one method for each of its paths, over one engine."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

from ..errors import OxiLlamaError
from .chat import create_chat_completion
from .completions import create_completion
from .conversations import Conversations
from .embeddings import create_embeddings
from .errors import APIError, to_api_error
from .rerank import create_ranking
from .responses import create_response

if TYPE_CHECKING:
    from ..engine import InferenceEngine
    from ..inference.generation import CancelEvent
    from .answers import Json, Steps

_PATHS: dict[str, Callable[[Conversations, Any, CancelEvent | None], Steps]] = {
    "chat/completions": create_chat_completion,
    "completions": create_completion,
    "embeddings": create_embeddings,
    "responses": create_response,
    "rerank": create_ranking,
}


class OpenAI:
    """OpenAI's API over an engine. Requests, answers and chunks are its JSON objects, as dicts.

    Attributes:
        chat: `chat.completions.create(messages=[...], ...)`.
        completions: `completions.create(prompt="...", ...)`.
        embeddings: `embeddings.create(input="...", ...)`.
        rerank: `rerank.create(query="...", documents=[...])`.
        responses: `responses.create(input="...", ...)`.
        models: `models.list()` and `models.retrieve(name)`.
    """

    def __init__(self, engine: InferenceEngine) -> None:
        """Answer requests with an engine that has a model.

        Args:
            engine: its own conversation is not touched. Its prefix cache keeps what requests have
                computed, for later ones that begin as they do.
        """
        self._conversations = Conversations(engine)
        self.chat = _Chat(self)
        self.completions = _Path(self, "completions")
        self.embeddings = _Path(self, "embeddings")
        self.rerank = _Path(self, "rerank")
        self.responses = _Path(self, "responses")
        self.models = _Models(engine)

    def steps(self, path: str, request: Any, cancel: CancelEvent | None = None) -> Steps:
        """Begin a request; its parameters are checked now.

        Several requests can be under way. They take turns, by whose generator is asked next.

        Args:
            path: "chat/completions", "completions", "embeddings", "responses" or "rerank".
            request: the JSON object.
            cancel: ends the answer once it is set.

        Returns:
            A generator. Each step computes one chunk of a prompt or one token of each choice that
            is under way, and yields the stream's objects that are complete by then; the generator
            returns the whole answer.

        Raises:
            APIError: the request is wrong. The generator raises it, too, if an answer fails later.
        """
        if path not in _PATHS:
            raise APIError(404, f"there is no path {path!r}", code="not_found")
        try:
            return _checked(_PATHS[path](self._conversations, request, cancel))
        except OxiLlamaError as error:
            raise to_api_error(error) from error

    def create(self, path: str, request: Mapping[str, Any]) -> Json | Iterator[Json]:
        """Return the answer to a request; with `stream`, an iterator of chunks."""
        steps = self.steps(path, request)
        return _chunks(steps) if request.get("stream") else _whole(steps)


class _Path:
    """One path of the API."""

    def __init__(self, client: OpenAI, path: str) -> None:
        self._client, self._path = client, path

    def create(self, **parameters: Any) -> Any:
        """Return the answer; with `stream=True`, an iterator of chunks.

        Args:
            parameters: those of OpenAI's API reference, and the fields of SamplerConfig.

        Raises:
            APIError: a parameter is wrong, or the answer failed.
        """
        return self._client.create(self._path, parameters)


class _Chat:
    def __init__(self, client: OpenAI) -> None:
        self.completions = _Path(client, "chat/completions")


class _Models:
    """The one model that there is."""

    def __init__(self, engine: InferenceEngine) -> None:
        self._engine = engine

    def list(self) -> Json:
        """Return the models."""
        return {"object": "list", "data": [self._model()]}

    def retrieve(self, model: str) -> Json:
        """Return a model by its name.

        Raises:
            APIError: there is no such model.
        """
        found = self._model()
        if found["id"] != model:
            raise APIError(404, f"the model {model!r} does not exist", code="model_not_found")
        return found

    def _model(self) -> Json:
        config = self._engine.model.config
        return {
            "id": config.name,
            "object": "model",
            "created": 0,
            "owned_by": config.architecture,
        }


def _checked(steps: Steps) -> Steps:
    """Raise the engine's errors as those of the API."""
    try:
        return (yield from steps)
    except OxiLlamaError as error:
        raise to_api_error(error) from error


def _chunks(steps: Steps) -> Iterator[Json]:
    for objects in steps:
        yield from objects


def _whole(steps: Steps) -> Json:
    while True:
        try:
            next(steps)
        except StopIteration as end:
            whole: Json = end.value
            return whole
