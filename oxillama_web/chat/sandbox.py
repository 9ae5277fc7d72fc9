"""A Jinja2 environment for templates that are not trusted.

Jinja2's sandbox keeps a template from reaching into Python. It does not keep it from looping for
ever or filling the memory; so here every operation that can make something large is charged to a
budget before it runs, and the template's own steps are counted by a trace function (which works
without threads or signals, so also in a browser).
"""

from __future__ import annotations

import sys
from collections.abc import Callable, ItemsView, Iterable, Iterator, KeysView, Mapping, ValuesView
from functools import update_wrapper
from time import monotonic
from types import FrameType
from typing import Any, NoReturn

from jinja2 import nodes
from jinja2.compiler import CodeGenerator, Frame
from jinja2.exceptions import SecurityError, TemplateError
from jinja2.ext import Extension, loopcontrols
from jinja2.parser import Parser
from jinja2.runtime import LoopContext, Macro, Undefined
from jinja2.sandbox import ImmutableSandboxedEnvironment
from jinja2.utils import Namespace
from jinja2.visitor import NodeTransformer

from ..errors import ChatTemplateError

_TEMPLATE_NAME = "<template>"  # what Jinja2 calls code compiled from a string
# lines and calls of one rendering; a thousand messages take some hundred thousand
_MOST_STEPS = 500_000
# a browser has little stack, and Python does not survive its end there
_DEEPEST_CALL = 24
_MOST_OPERATORS = 250  # of one expression or tag
_DEEPEST_TAG = 50
_DEEPEST_TREE = 80
_OPENING_TAGS = ("if", "for", "macro", "call", "filter", "block", "generation", "with")
_MOST_SECONDS = 3.0
_STEPS_BETWEEN_CLOCKS = 1_000
# characters and items that one rendering may make: a base, and a multiple of what goes in
_BASE_BUDGET = 8_000_000
_BUDGET_OF_INPUT = 32
_MOST_INT_BITS = 4_096
_MOST_INT_ARGUMENT = 100_000
_DEEPEST_DATA = 100
_STORED = "_stored"
_PLAIN = (str, int, float, bool, type(None), Undefined, range, list, tuple, dict)
_FILTERS_LEFT_OUT = ("center", "wordwrap", "urlize", "xmlattr", "pprint", "random", "forceescape")
_FILTERS_OF_ONE_STEP = ("length", "count", "first", "last", "default", "d")
# fmt: off
_TEXT_METHODS = frozenset([
    "capitalize", "count", "endswith", "find", "format", "index", "isalnum", "isalpha", "isascii",
    "isdecimal", "isdigit", "islower", "isnumeric", "isspace", "istitle", "isupper", "join",
    "lower", "lstrip", "partition", "removeprefix", "removesuffix", "replace", "rfind", "rindex",
    "rpartition", "rsplit", "rstrip", "split", "splitlines", "startswith", "strip", "swapcase",
    "title", "upper",
])
# fmt: on


class Sandbox:
    """One compiled template."""

    def __init__(self, source: str) -> None:
        self._environment = _Environment()
        try:
            _check_nesting(self._environment, source)
            tree = self._environment.parse(source)
            if _depth(tree) > _DEEPEST_TREE:
                raise ChatTemplateError("the chat template cannot be read: it nests too deep")
            self._template = self._environment.from_string(_StoredValues().visit(tree))
        except ChatTemplateError:
            raise
        except Exception as error:
            raise ChatTemplateError(f"the chat template cannot be read: {_said(error)}") from error

    def render(self, variables: dict[str, Any]) -> str:
        """The template's text.

        Raises:
            ChatTemplateError: the template failed, refused its input, or was stopped.
        """
        self._environment.depths.clear()
        self._environment.budget = _BASE_BUDGET + _BUDGET_OF_INPUT * _size(variables, sys.maxsize)
        try:
            with _StepLimit():
                return self._template.render(variables)
        except ChatTemplateError:
            raise
        except Exception as error:
            raise ChatTemplateError(f"the chat template failed: {_said(error)}") from error


class _StepLimit:
    """Stops Python code in the block after too many lines or too long a time."""

    def __enter__(self) -> None:
        self._n_steps = 0
        self._deadline = monotonic() + _MOST_SECONDS
        self._previous = sys.gettrace()
        sys.settrace(self._trace)

    def __exit__(self, *_: object) -> None:
        sys.settrace(self._previous)

    def _trace(self, frame: FrameType, event: str, argument: object) -> Any:
        self._n_steps += 1
        late = self._n_steps % _STEPS_BETWEEN_CLOCKS == 0 and monotonic() > self._deadline
        if self._n_steps > _MOST_STEPS or late:
            raise ChatTemplateError("the chat template was stopped: it took too many steps")
        # lines are counted in the template only, calls (and steps of generators) everywhere
        return self._trace if frame.f_code.co_filename == _TEMPLATE_NAME else None


class _Environment(ImmutableSandboxedEnvironment):
    """As transformers' environment, with a budget."""

    intercepted_binops = frozenset(["*", "**", "+", "%"])

    def __init__(self) -> None:
        self.budget = 0
        self.depth = 0
        # of the containers that the template keeps: by id, the container (so that it stays) and
        # how many levels it has
        self.depths: dict[int, tuple[Any, int]] = {}
        super().__init__(
            trim_blocks=True,
            lstrip_blocks=True,
            extensions=[loopcontrols, _GenerationTag],
            optimized=False,  # nothing of the template runs while it is compiled
            finalize=self.checked_text,
        )
        for name in _FILTERS_LEFT_OUT:
            del self.filters[name]
        self.filters["tojson"] = _to_json
        self.filters = {
            name: self._charged_filter(name, function) for name, function in self.filters.items()
        }
        self.filters[_STORED] = self.stored
        for name in ("lipsum", "cycler", "joiner"):
            del self.globals[name]
        self.globals["raise_exception"] = _raise_exception
        self.globals["strftime_now"] = _strftime_now

    def charge(self, amount: float) -> None:
        """Takes from the budget."""
        self.budget -= int(min(amount, sys.maxsize))
        if self.budget < 0:
            raise ChatTemplateError("the chat template was stopped: it makes too much text")

    def checked_text(self, value: Any) -> Any:
        """What an expression writes."""
        self.charge(_size(value, self.budget))
        return value

    def concat(self, parts: Iterable[str]) -> str:
        """Joins what a template or a block of it wrote."""
        parts = list(parts)
        self.charge(sum(map(len, parts)))
        return "".join(parts)

    def join_values(self, values: tuple[Any, ...]) -> str:
        """The operator ~."""
        self.charge(_size(values, self.budget))
        return "".join(map(str, values))

    def slice_of(self, value: Any, part: slice) -> Any:
        """value[start:stop:step]."""
        self.charge(len(value))
        return value[part]

    def stored(self, value: Any, in_namespace: bool) -> Any:
        """A value that a variable gets: plain data, and not nested without end."""
        if not in_namespace and isinstance(value, (Namespace, LoopContext, Macro)):
            return value
        if isinstance(value, (Iterator, KeysView, ValuesView, ItemsView)):
            value = list(value)
            self.charge(len(value))
        waiting = [value]
        while waiting:
            item = waiting[-1]
            inner = _contents(item)
            unknown = [part for part in inner if _contents(part) and id(part) not in self.depths]
            waiting += unknown
            if unknown:
                continue
            waiting.pop()
            if inner:
                self.charge(len(inner))
                depth = 1 + max(self.depths.get(id(part), (None, 0))[1] for part in inner)
                self.depths[id(item)] = item, depth
                if depth > _DEEPEST_DATA:
                    raise ChatTemplateError("the chat template was stopped: data nests too deep")
            elif not isinstance(item, _PLAIN):
                raise ChatTemplateError(
                    f"the chat template was stopped: it keeps a {type(item).__name__}"
                )
        return value

    def call_binop(self, context: Any, operator: str, left: Any, right: Any) -> Any:
        """Operators that can make something large."""
        numbers = isinstance(left, (int, float)) and isinstance(right, (int, float))
        if operator == "**":
            if not numbers or _bits(left) * abs(right) > _MOST_INT_BITS:
                raise ChatTemplateError("the chat template was stopped: a power is too large")
        elif operator == "*" and numbers:
            if _bits(left) + _bits(right) > _MOST_INT_BITS:
                raise ChatTemplateError("the chat template was stopped: a product is too large")
        elif operator == "*":
            count, value = (left, right) if isinstance(left, int) else (right, left)
            self.charge(_length(value) * max(count, 0) if isinstance(count, int) else 0)
        elif operator == "+" and not numbers:
            self.charge(_length(left) + _length(right))
        elif operator == "%" and isinstance(left, str):
            values = right if isinstance(right, tuple) else (right,)
            self._check_format(left, values, {})
        return super().call_binop(context, operator, left, right)

    def is_safe_attribute(self, obj: Any, attr: str, value: Any) -> bool:
        """Which attributes a template may read."""
        if isinstance(obj, str):
            return attr in _TEXT_METHODS
        return super().is_safe_attribute(obj, attr, value)

    def unsafe_undefined(self, obj: Any, attribute: str) -> NoReturn:
        """What reading any other attribute gives."""
        raise SecurityError(
            f"access to the attribute {attribute!r} of a {type(obj).__name__} is not allowed"
        )

    def call(self, context: Any, function: Any, *args: Any, **kwargs: Any) -> Any:
        """Every call in a template."""
        method = getattr(function, "__wrapped__", function)  # Jinja2 wraps str.format
        owner = getattr(method, "__self__", None)
        if isinstance(owner, str):
            args = self._charge_text(method.__name__, owner, args, kwargs)
        if self.depth >= _DEEPEST_CALL:
            raise ChatTemplateError("the chat template was stopped: its calls nest too deep")
        self.depth += 1
        try:
            return super().call(context, function, *args, **kwargs)
        finally:
            self.depth -= 1

    def _charged_filter(self, name: str, function: Callable[..., Any]) -> Callable[..., Any]:
        # some filters take the environment or the context first
        at = 1 if hasattr(function, "jinja_pass_arg") else 0

        def charged(*args: Any, **kwargs: Any) -> Any:
            before, value, rest = args[:at], args[at], args[at + 1 :]
            _check_numbers(rest, kwargs)
            if name not in _FILTERS_OF_ONE_STEP:
                self.charge(_length(value))
            if name == "join":
                value = list(value)
                separator = rest[0] if rest else kwargs.get("d", "")
                self.charge(_size(value, self.budget) + len(value) * len(str(separator)))
            elif name == "indent":
                width = rest[0] if rest else kwargs.get("width", 4)
                width = len(width) if isinstance(width, str) else width
                self.charge(_size(value, self.budget) + (str(value).count("\n") + 1) * width)
            elif name in ("replace", "format"):
                self._charge_text(name, str(value), rest, kwargs)
            elif name == "sum" and not isinstance(kwargs.get("start", 0), (int, float)):
                raise ChatTemplateError("the chat template was stopped: sum is for numbers")
            elif name in ("string", "tojson", "escape", "e", "urlencode"):
                self.charge(6 * _size(value, self.budget))
            result = function(*before, value, *rest, **kwargs)
            self.charge(_length(result))
            return result

        return update_wrapper(charged, function)

    def _charge_text(
        self, name: str, text: str, args: tuple[Any, ...], kwargs: Mapping[str, Any]
    ) -> tuple[Any, ...]:
        """Charges a method of str before it runs; returns its arguments, iterators as lists."""
        _check_numbers(args, kwargs)
        self.charge(len(text))
        if name == "replace" and len(args) >= 2:
            old, new = str(args[0]), str(args[1])
            self.charge((text.count(old) if old else len(text) + 1) * len(new))
        elif name == "join" and args:
            args = (list(args[0]),)
            self.charge(_size(args, self.budget) + len(args[0]) * len(text))
        elif name == "format":
            self._check_format(text, args, kwargs)
        return args

    def _check_format(self, text: str, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> None:
        _check_numbers(args, kwargs)
        fields = max(text.count("%"), text.count("{")) + 1
        digits = 0
        for char in text:
            digits = digits + 1 if char.isdigit() else 0
            if digits > 4:
                raise ChatTemplateError("the chat template was stopped: a format is too wide")
        widest = 10_000 + _size(args, self.budget) + _size(dict(kwargs), self.budget)
        self.charge(len(text) + fields * widest)


class _Generator(CodeGenerator):
    """Sends operations through the environment that Jinja2 compiles to plain Python."""

    def visit_Concat(self, node: nodes.Concat, frame: Frame) -> None:  # noqa: N802
        self.write("environment.join_values((")
        for part in node.nodes:
            self.visit(part, frame)
            self.write(", ")
        self.write("))")

    def visit_Getitem(self, node: nodes.Getitem, frame: Frame) -> None:  # noqa: N802
        if not isinstance(node.arg, nodes.Slice):
            super().visit_Getitem(node, frame)
            return
        self.write("environment.slice_of(")
        self.visit(node.node, frame)
        self.write(", slice(")
        for part in (node.arg.start, node.arg.stop, node.arg.step):
            if part is None:
                self.write("None")
            else:
                self.visit(part, frame)
            self.write(", ")
        self.write("))")


_Environment.code_generator_class = _Generator


class _StoredValues(NodeTransformer):
    """Passes the value of each {% set %} through _Environment.stored."""

    def visit_Assign(self, node: nodes.Assign) -> nodes.Assign:  # noqa: N802
        in_namespace = nodes.Const(node.find(nodes.NSRef) is not None)
        node.node = nodes.Filter(
            node.node, _STORED, [in_namespace], [], None, None, lineno=node.lineno
        )
        return node


class _GenerationTag(Extension):
    """{% generation %} marks the assistant's text for training; here it only shows its content."""

    tags = {"generation"}  # noqa: RUF012

    def parse(self, parser: Parser) -> list[nodes.Node]:
        """The nodes between the tags."""
        next(parser.stream)
        return parser.parse_statements(("name:endgeneration",), drop_needle=True)


def _check_nesting(environment: _Environment, source: str) -> None:
    """Refuses what would be parsed into too deep a tree."""
    n_operators = depth = 0
    at_start = False
    for _, kind, text in environment.lex(source):
        if kind in ("block_begin", "variable_begin"):
            n_operators = 0
            at_start = kind == "block_begin"
        elif kind == "name" and at_start:
            at_start = False
            depth += -1 if text.startswith("end") else text in _OPENING_TAGS
        elif (kind == "operator" and text not in ",:") or text in ("not", "and", "or", "if"):
            n_operators += 1
        if n_operators > _MOST_OPERATORS or depth > _DEEPEST_TAG:
            raise ChatTemplateError(
                "the chat template cannot be read: its expressions or tags nest too deep"
            )


def _depth(root: nodes.Node) -> int:
    """Levels of a syntax tree; found without recursion."""
    deepest = 0
    waiting = [(root, 1)]
    while waiting:
        node, depth = waiting.pop()
        deepest = max(deepest, depth)
        waiting += [(child, depth + 1) for child in node.iter_child_nodes()]
    return deepest


def _to_json(
    value: Any,
    ensure_ascii: bool = False,
    indent: int | None = None,
    separators: tuple[str, str] | None = None,
    sort_keys: bool = False,
) -> str:
    import json

    return json.dumps(
        value,
        ensure_ascii=ensure_ascii,
        indent=indent,
        separators=separators,
        sort_keys=sort_keys,
    )


def _raise_exception(message: object) -> None:
    raise TemplateError(str(message))


def _strftime_now(format_: str) -> str:
    from datetime import datetime

    if len(format_) > 1_000:
        raise ChatTemplateError("the chat template was stopped: a date format is too long")
    return datetime.now().strftime(format_)


def _size(value: Any, most: int) -> int:
    """Characters and items in a value, counted until `most` is passed."""
    total = 0
    waiting = [value]
    while waiting and total <= most:
        item = waiting.pop()
        if isinstance(item, str):
            total += len(item) + 2
        elif isinstance(item, Mapping):
            waiting += item.keys()
            waiting += item.values()
            total += len(item)
        elif isinstance(item, (list, tuple, set)):
            waiting += item
            total += len(item)
        else:
            total += 32 + (_bits(item) if isinstance(item, int) else 0) // 3
    return total


def _contents(value: Any) -> list[Any]:
    """What is in a container."""
    if isinstance(value, dict):
        return [*value.keys(), *value.values()]
    return list(value) if isinstance(value, (list, tuple)) else []


def _length(value: Any) -> int:
    return len(value) if hasattr(value, "__len__") else 0


def _bits(value: float) -> int:
    return value.bit_length() if isinstance(value, int) else 64


def _check_numbers(args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> None:
    for value in (*args, *kwargs.values()):
        if isinstance(value, int) and abs(value) > _MOST_INT_ARGUMENT:
            raise ChatTemplateError(f"the chat template was stopped: {value} is too large")


def _said(error: Exception) -> str:
    """An error's message, short."""
    text = str(error) or type(error).__name__
    return text if len(text) <= 500 else text[:497] + "..."
