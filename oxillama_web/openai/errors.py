"""Errors in the shape of OpenAI's API."""

from __future__ import annotations

from typing import Any

from ..errors import (
    ChatTemplateError,
    ContextLengthError,
    ConversationChangedError,
    GrammarError,
    InvalidRequestError,
    ModelNotLoadedError,
    OutOfMemoryError,
    OxiLlamaError,
    UnsupportedModelError,
)


class APIError(OxiLlamaError):
    """A request that cannot be answered.

    Attributes:
        status: the HTTP status, such as 400 for a wrong request.
        type: "invalid_request_error" where the request is wrong, else "server_error".
        param: the parameter that is wrong, if it is one.
        code: a word for programs, such as "context_length_exceeded", or None.
    """

    def __init__(
        self, status: int, message: str, *, param: str | None = None, code: str | None = None
    ) -> None:
        super().__init__(message)
        self.status = status
        self.type = "invalid_request_error" if status < 500 else "server_error"
        self.param = param
        self.code = code

    def body(self) -> dict[str, Any]:
        """Return the JSON object that the API answers with."""
        error = {"message": str(self), "type": self.type, "param": self.param, "code": self.code}
        return {"error": error}

    def body_with_status(self) -> dict[str, Any]:
        """Return the same with the HTTP status in it, for who has no HTTP."""
        return {"error": {"status": self.status, **self.body()["error"]}}


def invalid(param: str, message: str) -> APIError:
    """Return the error of a parameter that is wrong."""
    return APIError(400, message, param=param)


# The first class that an error is an instance of counts, so subclasses come first.
_KINDS: tuple[tuple[type[BaseException], int, str | None], ...] = (
    (ContextLengthError, 400, "context_length_exceeded"),
    (GrammarError, 400, "invalid_schema"),
    (InvalidRequestError, 400, None),
    (ChatTemplateError, 400, "chat_template"),
    (UnsupportedModelError, 400, "unsupported_model"),
    (ConversationChangedError, 503, "conversation_changed"),
    (ModelNotLoadedError, 503, "model_not_loaded"),
    (OutOfMemoryError, 503, "out_of_memory"),
)


def to_api_error(error: OxiLlamaError) -> APIError:
    """Return an error of the engine as one of the API."""
    if isinstance(error, APIError):
        return error
    for kind, status, code in _KINDS:
        if isinstance(error, kind):
            return APIError(status, str(error), code=code)
    return APIError(500, str(error), code=type(error).__name__)
