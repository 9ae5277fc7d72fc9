"""Chat templates that do harm: loops, growing values, deep ones, and forbidden names, put together.

A rendering must end within seconds, in a text or a clear error, and in little memory.
"""

from __future__ import annotations

import random
import re
import resource
import time
from typing import NamedTuple

from fuzzing import Fuzzer

from oxillama_web.chat.template import render_chat_template
from oxillama_web.errors import ChatTemplateError

# A machine that is busy otherwise takes some seconds for what takes three.
_MAX_SECONDS = 12.0
_MAX_GROWTH = 1_500  # MB that a case may add to the largest memory so far


class Case(NamedTuple):
    """A template, and how large the text of its one message is."""

    template: str
    size: int


def make(chance: random.Random) -> Case:
    """Return statements around expressions, some of them in loops and macros."""
    body = "".join(_filled("S", chance, 5) for _ in range(chance.randint(1, 6)))
    macro = _filled("{% macro m(a, b=L) %}S{% endmacro %}", chance, 2)
    start = "{% set n = namespace(x=[1, 2], y='ab ', d={'a': 1}) %}"
    return Case(macro + start + body, chance.choice((1, 100, 10_000, 1_000_000)))


def use(case: Case) -> None:
    """Render the template."""
    before, started = _memory(), time.process_time()
    message = {"role": "user", "content": "ab " * (case.size // 3 + 1)}
    try:
        render_chat_template(case.template, [message], tools=[{"a": [1, {"b": "c"}]}] * 3)
    finally:
        assert time.process_time() - started < _MAX_SECONDS, "it takes too long"
        assert _memory() - before < _MAX_GROWTH, "it takes too much memory"


def _memory() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024


def _filled(shape: str, chance: random.Random, depth: int) -> str:
    """Replace each capital letter by a random shape of its kind."""

    def shape_of(found: re.Match[str]) -> str:
        shapes = _SHAPES[found[0]]
        # the first shapes of a kind hold no others
        chosen = chance.choice(shapes if depth else shapes[:3])
        return _filled(chosen, chance, max(0, depth - 1))

    return _KIND.sub(shape_of, shape)


_KIND = re.compile(r"\b[STLNDA]\b")
# statements, and expressions that are texts, lists, numbers, dicts, or any of these
_TEXTS = {
    "S": """{{ A }}/{% set n.x = L %}/{% set n.y = T %}/{% set n.d = D %}/{% set i = A %}
        {% set x %}S{% endset %}{% set n.y = x %}/{% for i in L %}S{% endfor %}
        {% for i in range(N) %}SS{% endfor %}/{% for i in range(40) %}{% set n.x = L %}{% endfor %}
        {% for i in range(40) %}{% set n.y = T %}{% endfor %}/{% set n.x = [n.x, n.x] %}
        {% for i in range(99999) %}S{% endfor %}/{% if A %}S{% else %}S{% endif %}/{{ m(A) }}
        {% for i in L recursive %}{{ loop(L) }}{% endfor %}/{% call m(A) %}S{% endcall %}
        {% filter upper %}S{% endfilter %}/{% filter replace('a', T) %}S{% endfilter %}""",
    "T": """'ab '/n.y/messages[0].content/T ~ A/T + T/T * N/T.replace(T, T)/L|join(T)/A|string
        A|tojson
        A|tojson(indent=N)/T.ljust(N)/'%s'|format(A)/'%9999d' % N/T|indent(N)/T|wordwrap(N)/T[N:]
        '{}{:>9999}'.format(A, N)/T.translate({97: T})/T.expandtabs(N)/T.encode().decode()/T|upper
        T.join(L|map('string'))/T|replace(T, T)/A|xmlattr/T.center(N, 'x')/T.zfill(N)/T|title
        ''.__class__/T.format/(T|safe).format(A)/T|truncate(N)/cycler(T, T).next()/m(A)/A|pprint
        undefined_name/joiner(T)()/A|urlencode/T.rpartition(T)|join/N|filesizeformat""",
    "L": """[1, 2]/n.x/range(9999)|list/[A, A]/L + L/L * N/range(N)|list/range(N, N, N)|list
        T.split()
        L|sort/L|unique|list/L|map('string')|list/L|batch(N)|list/L|slice(N)|list/T|list/D|dictsort
        L|reverse|list/D.items()|list/L|groupby(0)|list/L|sum(start=[])/L[N:]/T.rsplit(T)/D.keys()
        L|map('int')|list/L|select|list/T.split(T)|map('int')|list/L|map(attribute=0)|list
        (A, A)""",
    "N": """1/7/99999/-1/10**9/L|length/T|length/N * N/N ** N/N + N/N // N/L|sum/T.count(T)/1.5
        T|int
        T.find(T)/N|round(N)/L.index(A)/T.rfind(T)/(7).bit_length()/1e308/2305843009213693951
        T|wordcount
        L|max/i|int""",
    "D": """{'a': 1}/n.d/messages[0]/{T: A}/{N: A}/dict(D, a=A)/dict.fromkeys(L, A)
        dict(L|batch(2)|list)
        {A: A}/{(A, A): A}/D.update(D)/D|items|list""",
    "A": """none/1.5/true/T/L/N/D/L == L/A in L/D == D/T in T/T == T/N < N/A is string/A and A
        namespace
        self/loop/n/n.x/messages/tools/m/namespace(x=A)/caller/varargs/L|first/L|last
        A|attr('x')""",
}
_SHAPES = {
    kind: [shape.strip() for shape in re.split(r"(?<!/)/(?!/)|\n", text)]
    for kind, text in _TEXTS.items()
}

FUZZER = Fuzzer(make, use, (ChatTemplateError,))
