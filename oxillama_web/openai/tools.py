"""The tools of a request, and which of them the model may or must call."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from ..chat.answer_parser import AnswerParser
from .errors import invalid

if TYPE_CHECKING:
    from ..inference.model import LoadedModel
    from ..sampling import SamplerConfig
    from ..sampling.sampler import Constraint
    from .answers import Json


class ToolUse(NamedTuple):
    """What a request says about tools.

    Attributes:
        offered: the tools that the template shows to the model.
        forced: those of which one must be called; none leaves the choice to the model.
        max_calls: how many calls an answer may have.
    """

    offered: list[Json]
    forced: list[Json]
    max_calls: int

    def parser(self, model: LoadedModel, variables: Mapping[str, Any]) -> AnswerParser:
        """Return what finds calls and thoughts in the text of an answer.

        Args:
            model: has the chat template.
            variables: those of the template.
        """
        return AnswerParser(model.answer_format, self.offered, variables)

    def constraint(
        self, model: LoadedModel, sampler: SamplerConfig, variables: Mapping[str, Any]
    ) -> Constraint | None:
        """Return what holds calls to the tools, and the sampler's schema off the thoughts.

        Args:
            model: has the chat template.
            sampler: of the answer.
            variables: those of the template.
        """
        constraints = model.answer_constraints
        if self.forced:
            return constraints.of_calls(self.forced, variables, must_call=True, max_calls=1)
        if sampler.json_schema is None:
            if not self.offered:
                return None
            max_calls = None if self.max_calls > 1 else 1
            return constraints.of_calls(self.offered, variables, max_calls=max_calls)
        if model.answer_format.thoughts is None:
            return None
        from ..grammar.json_schema import json_schema_to_gbnf

        gbnf = json_schema_to_gbnf(sampler.json_schema)
        has_tools = bool(self.offered)
        return constraints.of_grammar(gbnf, variables, with_tools=has_tools)


def read_tools(parameters: Mapping[str, Any]) -> ToolUse:
    """Return the tools of a request.

    Raises:
        APIError: a tool is no function, or the choice names one that is not there.
    """
    tools = [_read_tool(t, f"tools[{i}]") for i, t in enumerate(parameters.get("tools", ()))]
    choice = parameters.get("tool_choice", "auto")
    max_calls = sys.maxsize if parameters.get("parallel_tool_calls", True) else 1
    if isinstance(choice, Mapping) and choice.get("type") == "allowed_tools":
        allowed = choice.get("allowed_tools")
        if not isinstance(allowed, Mapping):
            raise invalid("tool_choice", "tool_choice.allowed_tools is missing")
        tools = [_named(tools, each) for each in allowed.get("tools", ())]
        choice = allowed.get("mode", "auto")
    if choice == "none":
        return ToolUse([], [], 0)
    if choice == "auto":
        return ToolUse(tools, [], max_calls)
    forced = tools if choice == "required" else [_named(tools, choice)]
    if not forced:
        raise invalid("tool_choice", "tool_choice is 'required', but there are no tools")
    return ToolUse(tools, forced, 1)


def _read_tool(tool: Any, where: str) -> Json:
    function = tool.get("function") if isinstance(tool, Mapping) else None
    if not isinstance(function, Mapping) or tool.get("type") != "function":
        raise invalid(where, f"{where} is no function; functions are all that can be called")
    if not isinstance(function.get("name"), str) or not function["name"]:
        raise invalid(where, f"{where} has no name")
    if not isinstance(function.get("parameters", {}), (Mapping, type(None))):
        raise invalid(where, f"the parameters of {where} are no JSON Schema")
    return {"type": "function", "function": {**function, "parameters": _parameters(tool)}}


def _parameters(tool: Mapping[str, Any]) -> Json:
    """Return the schema of a tool's arguments, which are always an object."""
    return {"type": "object", **(tool["function"].get("parameters") or {"properties": {}})}


def _named(tools: Sequence[Json], choice: Any) -> Json:
    function = choice.get("function") if isinstance(choice, Mapping) else None
    name = function.get("name") if isinstance(function, Mapping) else None
    for tool in tools:
        if tool["function"]["name"] == name:
            return tool
    raise invalid("tool_choice", f"tool_choice is {choice!r:.80}, which names none of the tools")
