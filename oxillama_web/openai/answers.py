"""What the answers of chats and of plain completions have in common.

An answer is the sum of the pieces that a stream brings: whoever wants it as a whole gets what the
same chunks add up to.
"""

from __future__ import annotations

import time
import uuid
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

if TYPE_CHECKING:
    from ..engine import InferenceEngine
    from ..inference.generation import FinishReason

Json = dict[str, Any]
# Each step computes one chunk of a prompt or one token of each choice that is under way, and yields
# the stream's objects that are complete by then; the generator returns the answer as a whole.
Steps = Generator[list[Json], None, Json]


@dataclass(slots=True)
class Usage:
    """Tokens of a request, over all of its choices.

    Attributes:
        prompt: tokens of the prompts.
        cached: those of them that were in a cache already.
        completion: tokens that were generated.
        reasoning: those of them that were thoughts.
    """

    prompt: int = 0
    cached: int = 0
    completion: int = 0
    reasoning: int = 0

    def as_json(self) -> Json:
        """Return the API's `usage`."""
        return {
            "prompt_tokens": self.prompt,
            "completion_tokens": self.completion,
            "total_tokens": self.prompt + self.completion,
            "prompt_tokens_details": {"cached_tokens": self.cached},
            "completion_tokens_details": {"reasoning_tokens": self.reasoning},
        }


class Shape(NamedTuple):
    """How a path writes its answers.

    Attributes:
        prefix: of the answer's id.
        whole: the name of the object that is a whole answer.
        chunk: the name of a chunk of its stream.
        add: adds a choice's next piece to the sum of its pieces; the sum of none is None.
    """

    prefix: str
    whole: str
    chunk: str
    add: Callable[[Json | None, Json], Json]


def answer(
    engine: InferenceEngine,
    parameters: Mapping[str, Any],
    shape: Shape,
    choices: Iterable[Iterator[list[Json]]],
    usage: Usage,
    *,
    wants_usage: bool,
) -> Steps:
    """Run the choices of an answer side by side.

    Each begins after the first token of the one before, whose prompt it may share.

    Args:
        engine: names the model.
        parameters: of the request.
        shape: of the path.
        choices: for each of them, the pieces that each step brings.
        usage: counts the tokens meanwhile.
        wants_usage: whether a last chunk shall hold them.
    """
    header = {
        "id": f"{shape.prefix}-{uuid.uuid4().hex}",
        "created": int(time.time()),
        "model": parameters.get("model", engine.model.config.name),
    }
    # each chunk but the last says that the count is still to come
    rest = {"usage": None} if wants_usage else {}
    wholes: list[Json | None] = []
    for step in _side_by_side(choices, usage):
        chunks = []
        for number, piece in step:
            wholes += [None] * (number + 1 - len(wholes))
            wholes[number] = shape.add(wholes[number], piece)
            chunks.append({**header, "object": shape.chunk, "choices": [piece], **rest})
        yield chunks
    counted = usage.as_json()
    if wants_usage:
        yield [{**header, "object": shape.chunk, "choices": [], "usage": counted}]
    return {**header, "object": shape.whole, "choices": wholes, "usage": counted}


def _side_by_side(
    choices: Iterable[Iterator[list[Json]]], usage: Usage
) -> Iterator[list[tuple[int, Json]]]:
    """Yield the pieces that a step of all running choices brings, each with its choice's number."""
    waiting = deque(enumerate(choices))
    running: list[tuple[int, Iterator[list[Json]]]] = []
    n_tokens = 0
    while waiting or running:
        if waiting and (not running or usage.completion > n_tokens):
            n_tokens = usage.completion
            running.append(waiting.popleft())
        pieces: list[tuple[int, Json]] = []
        for pair in running.copy():
            number, steps = pair
            step = next(steps, None)
            if step is None:
                running.remove(pair)
            else:
                pieces += [(number, piece) for piece in step]
        yield pieces


def api_finish_reason(reason: FinishReason | None) -> Literal["stop", "length"]:
    """Return the API's word for why an answer ended: it was cut off, or not."""
    return "length" if reason in ("length", "context") else "stop"
