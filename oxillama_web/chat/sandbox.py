"""A Jinja2 environment for templates that are not trusted.

Jinja2's sandbox keeps a template from reaching into Python. It does not keep it from looping
forever or filling the memory. So here each step of a template, and each value that an expression
builds, is charged to one budget of bytes, and the clock is read each time. That bounds time and
memory because no single operation can take long or build much:

- The size of a value counts what it holds as often as it holds it, and is bounded, as its depth is:
  a list doubled 40 times never comes to be. Values do not change, and generators become lists.
- An operation works in proportion to the sizes of its operands. The few that work in proportion to
  their product (`*`, `%`, replace, join, ...) are refused beforehand where that is too large.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Callable, ItemsView, Iterable, Iterator, KeysView, ValuesView
from contextlib import contextmanager
from functools import update_wrapper
from re import search
from string import Formatter
from threading import Lock
from time import monotonic
from typing import Any, NoReturn

from jinja2 import nodes
from jinja2.compiler import CodeGenerator, Frame
from jinja2.exceptions import SecurityError
from jinja2.runtime import Context, LoopContext, Macro, Undefined
from jinja2.sandbox import ImmutableSandboxedEnvironment
from jinja2.utils import Cycler, Joiner, Namespace, pass_context

from ..backends.forking import renew_after_fork
from ..errors import ChatTemplateError
from .hugging_face import EXTENSIONS, FILTERS, FUNCTIONS

# What a rendering may take: a base, and multiples of the size of its variables in bytes. The tools'
# texts may be joined one by one, which takes half as many times their size as there are tools.
BASE_SECONDS, SECONDS_OF_INPUT = 3.0, 1e-6
BASE_BUDGET, BUDGET_OF_INPUT, MAX_BUDGET = 8_000_000, 256, 1_000_000_000
LIMIT_OF_INPUT = 32  # of one value
STEP = ITEM = 16  # what a step, a container and an item of it cost
MAX_ARGUMENT = 100_000  # of a number that may say how long something becomes
MAX_COMPARISONS = 1_000_000_000  # of characters, in one search
MAX_INT_BITS = 4_096
# Integers from 61 bits on are remainders to their hash: thousands can be made to collide.
MAX_BUILT_INT_BITS = 60
# A page's worker has a small stack, and Python does not survive its end there.
MAX_CALL_DEPTH = 64
MAX_DEPTH, MAX_TREE_DEPTH = 80, 48  # of data, and of syntax
MAX_TAG_TOKENS, MAX_TOKENS = 500, 60_000

_SCALARS = (int, float, type(None), Undefined)
_LISTS = (list, tuple, range, KeysView, ValuesView, ItemsView)
_TEXTS = (str, bytes)
_DATA = (*_TEXTS, dict, *_SCALARS, *_LISTS)
_BUILDING = (nodes.Compare, nodes.Concat, nodes.Dict, nodes.List, nodes.Test, nodes.Tuple)
_OBJECTS = (Cycler, Joiner, LoopContext, Macro, Namespace)  # which no value may hold
_SCOPES = ("_loop_vars", "_block_vars")  # what Jinja2 adds to calls
_FORMATS = ("%", "format", "format_map")
_MULTIPLYING = tuple("* ** expandtabs indent join replace sum translate wordwrap".split())
_SEARCHING_BACK = ("rfind", "rindex", "rpartition", "rsplit", "wordwrap")  # not in linear time
_REFUSED = ("pprint", "random", "striptags", "urlize")


class _Generator(CodeGenerator):
    """Passes what expressions build through `Sandbox.built`; calls and filters do it too."""

    def visit(self, node: nodes.Node, *args: Any, **kwargs: Any) -> None:
        is_slice = isinstance(getattr(node, "arg", None), nodes.Slice)
        is_read = getattr(node, "ctx", "load") == "load"
        builds = is_read and (is_slice or isinstance(node, _BUILDING))
        self.write("environment.built(" if builds else "")
        super().visit(node, *args, **kwargs)
        self.write(")" if builds else "")

    def visit_For(self, node: nodes.For, frame: Frame) -> None:  # noqa: N802
        # each pass builds something, so that it is a step
        node.body.insert(0, nodes.ExprStmt(nodes.Tuple([], "load"), lineno=node.lineno))
        super().visit_For(node, frame)


class Sandbox(ImmutableSandboxedEnvironment):
    """One template, compiled, in an environment like that of transformers.

    Raises:
        ChatTemplateError: the template cannot be read.
    """

    code_generator_class = _Generator
    intercepted_binops = frozenset(["*", "**", "+", "%"])

    def __init__(self, source: str) -> None:
        self._lock = Lock()
        self._budget = self._limit = self._call_depth = 0
        self._deadline = 0.0
        # of containers, by id: the container (so that it stays), its size and its depth
        self._measures: dict[int, tuple[Any, int, int]] = {}
        super().__init__(
            trim_blocks=True,
            lstrip_blocks=True,
            extensions=EXTENSIONS,
            optimized=False,  # nothing of the template runs while it is compiled
            finalize=self.written,
        )
        filters = {**self.filters, **FILTERS}
        self.filters = {name: self._bounded(name, f) for name, f in filters.items()}
        plain = {"cycler": Cycler, "dict": dict, "joiner": Joiner, "range": range}
        self.globals = {**plain, "namespace": _Namespace, **FUNCTIONS}
        with _chat_errors("cannot be read"):
            self._template = self.from_string(_parse(self, source))
        renew_after_fork(self)

    def renew_after_fork(self) -> None:
        """See `forking`."""
        self._lock = Lock()

    def render(self, variables: dict[str, Any]) -> str:
        """Return the template's text.

        Raises:
            ChatTemplateError: the template failed, refused its input, or was stopped.
        """
        with self._lock, _chat_errors("failed"):
            self._measures.clear()
            self._call_depth, self._deadline = 0, math.inf
            self._budget = self._limit = sys.maxsize
            size, _ = self._measure(variables)
            self._deadline = monotonic() + BASE_SECONDS + SECONDS_OF_INPUT * size
            self._limit = BASE_BUDGET + LIMIT_OF_INPUT * size
            self._budget = max(self._limit, min(BASE_BUDGET + BUDGET_OF_INPUT * size, MAX_BUDGET))
            return self._template.render(variables)

    def built(self, value: Any) -> Any:
        """Charge a value and return it, a generator as a list."""
        if isinstance(value, Iterator):
            value = _Items(map(self.built, value))
        if type(value) is int and value.bit_length() > MAX_BUILT_INT_BITS:
            raise SecurityError("a number is too large")
        size = 0 if isinstance(value, _OBJECTS) else self._measure(value)[0]
        self._charge(STEP + (size if isinstance(value, _TEXTS) else 0))
        return value

    @pass_context
    def written(self, context: Context, value: Any) -> Any:
        """Charge what an expression writes."""
        self._charge(self._measure(value)[0])
        return value

    def concat(self, parts: Iterable[str]) -> str:
        """Join what a template or a block of it wrote."""
        texts = []
        for text in parts:
            self._charge(self._measure(text)[0])
            texts.append(text)
        return "".join(texts)

    def call_binop(self, context: Context, operator: str, left: Any, right: Any) -> Any:
        """Apply an operator that can make something large."""
        is_number = isinstance(left, (int, float)) and isinstance(right, (int, float))
        if operator == "**" or (operator in "*%" and not is_number):
            is_format = operator == "%" and isinstance(right, tuple)
            self._check(operator, left, *(right if is_format else [right]))
        return self.built(super().call_binop(context, operator, left, right))

    def call(self, context: Context, function: Any, *args: Any, **kwargs: Any) -> Any:
        """Call whatever a template calls."""
        scopes = {name: kwargs.pop(name) for name in _SCOPES if name in kwargs}
        method = getattr(function, "__wrapped__", function)  # Jinja2 wraps str.format
        owner = getattr(method, "__self__", None)
        if isinstance(owner, (*_TEXTS, int)) or function is range:
            self._charge(self._measure(owner)[0])
            self._check(method.__name__, owner, *args, *kwargs.values())
        # Calls of these two are made without a slot, on the interpreter's own stack: of the other
        # one a browser has little.
        weight = 1 if isinstance(function, (LoopContext, Macro)) else 3
        self._call_depth += weight
        if self._call_depth > MAX_CALL_DEPTH:
            raise SecurityError("its calls nest too deep")
        if isinstance(function, Macro):
            result = Macro.__call__(function, context.eval_ctx, *args, **kwargs)
        elif isinstance(function, LoopContext):
            result = LoopContext.__call__(function, *args, **kwargs)
        else:
            result = super().call(context, function, *args, **kwargs, **scopes)
        self._call_depth -= weight
        return self.built(result)

    def unsafe_undefined(self, obj: Any, attribute: str) -> NoReturn:
        """Refuse an attribute that a template may not read."""
        raise SecurityError(
            f"access to the attribute {attribute!r} of a {type(obj).__name__} is not allowed"
        )

    def wrap_str_format(self, value: Any) -> Callable[..., str] | None:
        """Wrap str.format as Jinja2 does, unless a format computes its width."""
        wrapper = super().wrap_str_format(value)
        if wrapper and any("{" in (field[2] or "") for field in Formatter().parse(value.__self__)):
            raise SecurityError("a format computes its width")
        return wrapper

    def _bounded(self, name: str, function: Callable[..., Any]) -> Callable[..., Any]:
        # some filters take the environment or the context first
        first = 1 if hasattr(function, "jinja_pass_arg") else 0

        def bounded(*args: Any, **kwargs: Any) -> Any:
            self._check(name, *args[first:], *kwargs.values())
            return self.built(function(*args, **kwargs))

        return update_wrapper(bounded, function)

    def _check(self, name: str, *operands: Any) -> None:
        """Refuse an operation that could take too long or make too large a value."""
        if name in _REFUSED:
            raise SecurityError(f"{name} is not supported")
        if any(isinstance(value, int) and abs(value) > MAX_ARGUMENT for value in operands[1:]):
            raise SecurityError("a number is too large for a length")
        sizes = [abs(v) if isinstance(v, int) else self._measure(v)[0] for v in operands]
        if name in _FORMATS:
            text = str(operands[0])
            if search(r"\d{6}", text):
                raise SecurityError("a format is too wide")
            sizes = [text.count("%") + text.count("{"), max(MAX_ARGUMENT, *sizes)]
        product = math.prod(sorted(sizes)[-2:]) if len(sizes) > 1 else 0
        if name in (*_FORMATS, *_MULTIPLYING) and product > self._limit:
            raise SecurityError(f"{name} makes too large a value")
        if name == "wordwrap":
            product = sizes[0] * max(sizes)
        if name in _SEARCHING_BACK and product > MAX_COMPARISONS:
            raise SecurityError(f"{name} takes too long")

    def _measure(self, value: Any) -> tuple[int, int]:
        """Return a value's size, in bytes, and its depth; charge a container that is new."""
        if isinstance(value, _TEXTS):
            return len(value) if value.isascii() else 4 * len(value), 0
        if isinstance(value, _SCALARS):
            if isinstance(value, int) and value.bit_length() > MAX_INT_BITS:
                raise SecurityError("a number is too large")
            return ITEM, 0
        if id(value) in self._measures:
            return self._measures[id(value)][1:]
        if not isinstance(value, (dict, *_LISTS)):
            raise SecurityError(f"it keeps a {type(value).__name__}")
        parts = [*value, *value.values()] if isinstance(value, dict) else list(value)
        own_size = STEP + ITEM * len(parts)
        self._charge(own_size)
        measures = [(own_size, 0), *map(self._measure, parts)]
        size, depth = sum(size for size, _ in measures), 1 + max(depth for _, depth in measures)
        if size > self._limit or depth > MAX_DEPTH:
            raise SecurityError("its data are too large or nest too deep")
        self._measures[id(value)] = value, size, depth
        return size, depth

    def _charge(self, amount: int) -> None:
        self._budget -= amount
        if self._budget < 0 or monotonic() > self._deadline:
            raise SecurityError("it takes too much time or memory")


class _Items(list[Any]):
    """What a filter yields; true even without items, as the generator whose place it takes."""

    def __bool__(self) -> bool:
        return True


class _Namespace(Namespace):
    """Holds plain data only, so that it cannot hold itself."""

    def __init__(self, /, *args: Any, **kwargs: Any) -> None:
        super().__init__()
        for name, value in dict(*args, **kwargs).items():
            self[name] = value

    def __setitem__(self, name: str, value: Any) -> None:
        if not isinstance(value, _DATA):
            raise SecurityError(f"it keeps a {type(value).__name__}")
        super().__setitem__(name, value)


def _parse(environment: Sandbox, source: str) -> nodes.Template:
    """Parse a template, unless it nests too deep to be compiled, or its tree to be freed."""
    n_tokens = 0
    for n_all, (_, kind, _) in enumerate(environment.lex(source)):
        n_tokens = 0 if kind.endswith("_begin") else n_tokens + 1
        if n_tokens > MAX_TAG_TOKENS or n_all > MAX_TOKENS:
            raise SecurityError("it or one of its tags is too long")
    tree = environment.parse(source)
    waiting: list[tuple[nodes.Node, int]] = [(tree, 1)]
    while waiting:
        node, depth = waiting.pop()
        if depth > MAX_TREE_DEPTH:
            raise SecurityError("it nests too deep")
        waiting += [(child, depth + 1) for child in node.iter_child_nodes()]
    return tree


@contextmanager
def _chat_errors(what: str) -> Iterator[None]:
    try:
        yield
    except Exception as error:
        text = str(error) or type(error).__name__
        raise ChatTemplateError(f"the chat template {what}: {text:.500}") from error
