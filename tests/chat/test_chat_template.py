"""Chat templates give what transformers gives, and hostile ones end in an error, quickly."""

from __future__ import annotations

import json
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import jinja2
import jinja2.sandbox
import pytest
from paths import GOLDEN as GOLDEN_FOLDER

from oxillama_web.chat.template import render_chat_template
from oxillama_web.errors import ChatTemplateError
from oxillama_web.gguf.reader import GGUFFile

GOLDEN = json.loads((GOLDEN_FOLDER / "chat_templates.json").read_text())

MESSAGES = [
    {"role": "system", "content": "Be nice."},
    {"role": "user", "content": "Hi <b>é</b> & co "},
    {"role": "assistant", "content": "<think>hm</think>\n\nHello"},
    {"role": "user", "content": "Again?"},
]
TOOLS = [{"type": "function", "function": {"name": "get", "parameters": {"x": ["ü", 1.5, None]}}}]
CHATML = """\
{%- if tools %}
    {{- '<tools>\\n' }}
    {%- for tool in tools %}
        {{- tool | tojson }}
    {%- endfor %}
    {{- '</tools>\\n' }}
{%- endif %}
{%- set ns = namespace(last=-1, text='') %}
{%- for message in messages[::-1] %}
    {%- set index = (messages|length - 1) - loop.index0 %}
    {%- if message.role == "user" and ns.last < 0 %}
        {%- set ns.last = index %}
    {%- endif %}
{%- endfor %}
{% for message in messages %}
    {% if message['role'] == 'skip' %}{% continue %}{% endif %}
    {% set content = message.content.split('</think>')[-1].lstrip('\\n') %}
    {% set ns.text = ns.text ~ content ~ loop.index %}
{{ bos_token + message.role.title() + ': ' + (content | trim) * 2 }}
    {% generation %}
    {{ content if loop.last else '%s!' % loop.index0 }}
    {% endgeneration %}
    {% if loop.index > 100 %}{% break %}{% endif %}
{% endfor %}
{{ ns.last }} {{ ns.text }} {{ messages[1:] | map(attribute='role') | join(', ') }}
{% set ns.kept = messages | selectattr('role', 'eq', 'user') %}
{% set keys = messages[0].keys() %}
{% for kept in ns.kept %}
{% set outer = loop %}
{% for x in 'ab' %}{{ outer.index }}{{ x }}{% endfor %}
{% endfor %}
{{ keys | list }} {% set a, b = (1, [2]) %}{{ b }}
{{ tools is defined and tools is not none }} {{ undefined_name is defined }}
{{ '{}-{}'.format(1, 'b') }} {{ (messages | tojson(indent=2)).replace('nice', 'kind') }}
{% if add_generation_prompt %}
<|im_start|>assistant
{% endif %}
"""


def plain_jinja(template: str, **variables: Any) -> str:
    """As transformers renders: the oracle."""
    environment = jinja2.sandbox.ImmutableSandboxedEnvironment(
        trim_blocks=True, lstrip_blocks=True, extensions=["jinja2.ext.loopcontrols"]
    )
    environment.filters["tojson"] = lambda value, **options: json.dumps(
        value, ensure_ascii=False, **options
    )
    # {% generation %} is an extension of transformers that shows its content
    template = template.replace("{% generation %}", "{% if true %}")
    template = template.replace("{% endgeneration %}", "{% endif %}")
    return environment.from_string(template).render(**variables)


@pytest.mark.parametrize("tools", [None, TOOLS])
@pytest.mark.parametrize("add_generation_prompt", [False, True])
def test_renders_like_transformers(tools: Any, add_generation_prompt: bool) -> None:
    variables: dict[str, Any] = {
        "tools": tools,
        "add_generation_prompt": add_generation_prompt,
        "bos_token": "<s>",
        "eos_token": "</s>",
    }
    expected = plain_jinja(CHATML, messages=MESSAGES, documents=None, **variables)
    assert render_chat_template(CHATML, MESSAGES, **variables) == expected


def test_model_template(smollm2_path: Path) -> None:
    template = GGUFFile(smollm2_path.read_bytes()).metadata["tokenizer.chat_template"]
    assert render_chat_template(template, [{"role": "user", "content": "Hi"}]) == (
        "<|im_start|>system\nYou are a helpful AI assistant named SmolLM, trained by Hugging Face"
        "<|im_end|>\n<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\n"
    )


def test_extra_variables_and_date() -> None:
    text = render_chat_template("{{ enable_thinking }} {{ strftime_now('%Y') }}", [])
    assert text == f" {time.strftime('%Y')}"
    assert render_chat_template("{{ enable_thinking }}", [], enable_thinking=False) == "False"


def test_refusal_carries_the_template_s_message() -> None:
    with pytest.raises(ChatTemplateError, match="only user and assistant"):
        render_chat_template("{{ raise_exception('only user and assistant') }}", MESSAGES)


@pytest.mark.parametrize("template", ["{% if %}", "{{ x", "{% for %}", "{{ " + "(" * 50_000])
def test_broken_templates(template: str) -> None:
    with pytest.raises(ChatTemplateError, match="cannot be read"):
        render_chat_template(template, MESSAGES)


def test_many_messages_are_no_attack(smollm2_path: Path) -> None:
    template = GGUFFile(smollm2_path.read_bytes()).metadata["tokenizer.chat_template"]
    messages = [{"role": "user", "content": "x" * 5_000}] * 2_000
    assert len(render_chat_template(template, messages)) > 10_000_000


@pytest.mark.parametrize("family", ["Granite 4", "LFM2", "Llama 3.1", "gpt-oss"])
def test_many_tools_are_no_attack(family: str) -> None:
    properties = {f"key{i}": {"type": "string", "description": "words " * 15} for i in range(8)}
    function = {"description": "words " * 40, "parameters": {"properties": properties}}
    tools = [{"type": "function", "function": {"name": f"tool{i}", **function}} for i in range(400)]
    assert len(json.dumps(tools)) > 500_000
    template = GOLDEN["families"][family]["template"]
    text = render_chat_template(template, MESSAGES[1:2], tools=tools)
    assert text.count("words words") > 400 and "tool399" in text


def test_long_integers_of_the_caller_are_no_attack() -> None:
    arguments = {"id": 12345678901234567890123}
    assert "12345678901234567890123" in render_chat_template("{{ x | tojson }}", [], x=arguments)


def test_only_plain_data_reaches_a_template() -> None:
    with pytest.raises(ChatTemplateError, match="holds a object"):
        render_chat_template("", [{"role": "user", "content": object()}])


HOSTILE = [
    # loops
    "{% for i in range(100000) %}{% for j in range(100000) %}{% endfor %}{% endfor %}",
    "{% for i in range(10) recursive %}{{ loop(range(10)) }}{% endfor %}",
    "{% macro m() %}{{ m() }}{% endmacro %}{{ m() }}",
    "{{ range(1000000000) | list }}",
    "{% for i in range(90000) %}{{ range(90000) | sum }}{% endfor %}",
    "{% for i in range(90000) %}{{ range(90000) | map('string') | list | length }}{% endfor %}",
    # memory
    "{{ 'a' * 1000000000 }}",
    "{{ [1] * 1000000000 }}",
    "{{ 10 ** 1000000000 }}",
    "{% set ns = namespace(x=9) %}{% for i in range(60) %}{% set ns.x = ns.x * ns.x %}{% endfor %}",
    "{% set n = namespace(x='a') %}{% for i in range(60) %}{% set n.x = n.x ~ n.x %}{% endfor %}",
    "{% set n = namespace(x='a') %}{% for i in range(60) %}{% set n.x = n.x + n.x %}{% endfor %}",
    "{% set n = namespace(x=[1]) %}{% for i in range(60) %}{% set n.x = [n.x, n.x] %}{% endfor %}"
    "{{ n.x }}",
    "{% set ns = namespace(l=[]) %}{% for i in range(9999) %}"
    "{% set ns.l = ns.l + [('a' * 99999)[1:]] %}{% endfor %}",
    "{{ 'a'.replace('', 'b' * 99999).replace('', 'b' * 99999) }}",
    "{{ ('a' * 99999) | replace('', 'b' * 99999) }}",
    "{{ ('a' * 99999).join(range(99999) | map('string')) }}",
    "{{ range(99999) | join('a' * 99999) }}",
    "{{ '%1000000000d' % 1 }}",
    "{{ '%*d' % (1000000000, 1) }}",
    "{{ '{:>1000000000}'.format(1) }}",
    "{{ '{:>{}}'.format(1, 1000000000) }}",
    "{{ 'a\\n' | indent(1000000000) }}",
    "{{ 'a'.ljust(1000000000) }}",
    "{{ 'a'.zfill(1000000000) }}",
    "{{ 1.5 | round(1000000000) }}",
    "{{ [1] | batch(1000000000, 'x') | list }}",
    "{{ [1] | slice(1000000000) | list }}",
    "{{ messages | tojson(indent=1000000000) }}",
    "{{ lipsum(n=100000) }}",
    "{% set x %}{% for i in range(9999) %}{{ 'a' * 9999 }}{% endfor %}{% endset %}{{ x }}",
    "{% for i in range(99999) %}{{ messages }}{{ 'aaaaaaaaaaaa' * 99 }}{% endfor %}",
    # depth: in a browser the end of the stack is the end of Python
    *(
        f"{{% set n = namespace(x=[]) %}}{{% for i in range(9000) %}}{{% set n.x = {deeper} %}}"
        "{% endfor %}{{ n.x }}"
        for deeper in (
            "[n.x]",
            "(n.x,)",
            "{'a': n.x}",
            "dict(a=n.x)",
            "n",
            "[[n.x], n.x] | batch(1) | list",
            "namespace(x=n.x)",
            "n.x.append",
        )
    ),
    "{% set x = [] %}" + "{% set x = [x] %}" * 9000,
    "{{ a" + ".b" * 9000 + " }}",
    "{{ 'a'" + " | upper" * 9000 + " }}",
    "{{ " + "not " * 9000 + "1 }}",
    "{{ " + "[" * 150 + "]" * 150 + " }}",
    "{{ 1" + " + 1" * 150 + " }}",
    "{% if 1 %}" * 500 + "{% endif %}" * 500,
    # reaching into Python
    "{{ ''.__class__.__mro__[1].__subclasses__() }}",
    "{{ raise_exception.__globals__ }}",
    "{{ cycler.__init__.__globals__ }}",
    "{{ ('' | attr('__class__')).__mro__ }}",
    "{{ messages[0].__class__.__base__ }}",
    "{{ '{0.__class__.__mro__}'.format('') }}",
    "{{ messages.append(1) }}",
    "{{ messages[0].clear() }}",
    "{% include '/etc/passwd' %}",
    "{% import 'os' as os %}",
]


@pytest.mark.parametrize("template", HOSTILE, ids=range(len(HOSTILE)))
def test_hostile_templates_end_soon(template: str) -> None:
    started = time.process_time()
    with pytest.raises(ChatTemplateError):
        render_chat_template(template, MESSAGES)
    assert time.process_time() - started < 5


DOUBLED = (
    "{% set n = namespace(x=[1]) %}{% for i in range(40) %}{% set n.x = [n.x, n.x] %}{% endfor %}"
)
LONG_LIST = (
    "{% set n = namespace(x=[1]) %}{% for i in range(16) %}{% set n.x = n.x + n.x %}{% endfor %}"
)
LONG_TEXT = (
    "{% set n = namespace(x='ab ') %}{% for i in range(19) %}{% set n.x = n.x ~ n.x %}{% endfor %}"
)
HOSTILE_VALUES = [
    # each holds itself many times over
    *(
        DOUBLED + operation
        for operation in (
            "{{ n.x == n.x[:] }}",
            "{{ {(n.x,): 1} }}",
            "{{ n.x in [n.x, n.x] }}",
            "{{ [n.x, n.x]|sort }}",
            "{{ [n.x]|groupby(0) }}",
            "{{ n.x|upper }}",
            "{{ n.x|replace('1', '2') }}",
            "{{ n.x|tojson }}",
            "{{ n.x|sum(start=[]) }}",
            "{{ '%s' % (n.x,) }}",
            "{{ '{}'.format(n.x) }}",
        )
    ),
    # a single operation that takes a while, many times
    *(
        LONG_LIST + "{% for i in range(99999) %}" + operation + "{% endfor %}"
        for operation in (
            "{{ n.x|sort|length }}",
            "{{ n.x|groupby(0)|length }}",
            "{% if n.x == n.x[:] %}{% endif %}",
            "{% if 2 in n.x %}{% endif %}",
            "{{ n.x|slice(99999)|list }}",
            "{{ n.x|tojson(indent=99) }}",
        )
    ),
    *(
        LONG_TEXT + "{% for i in range(99999) %}" + operation + "{% endfor %}"
        for operation in (
            "{{ n.x.split() }}",
            "{{ n.x.rfind('b' ~ n.x) }}",
            "{{ n.x.translate({97: n.x}) }}",
            "{{ n.x.expandtabs(99999) }}",
            "{{ n.x|striptags }}",
            "{{ (n.x|safe).striptags() }}",
            "{{ n.x.encode() }}",
        )
    ),
    "{{ (5).to_bytes(1000000000) }}",
    "{{ '{0:>{1[0]}}'.format('a', [1000000000]) }}",
    "{% set x = 'x' * 999999 %}{{ ('{0}' * 999).format(x) }}",
    "{{ ('a' * 99999) | replace(new='b' * 99999, old='') }}",
    "{{ range(99999)|batch(1)|sum(none, []) }}",
    "{{ dict.fromkeys(range(0, 99999999999999999999999, 2305843009213693951)) }}",
    "{% set t %}{% for i in range(50000) %}{{ i * 2305843009213693951 }} {% endfor %}{% endset %}"
    "{{ dict(t.split()|map('int')|batch(2)) }}",
    "{% set t %}{% for i in range(50000) %}{{ i }}000000000000000000 {% endfor %}{% endset %}"
    "{{ dict(t.split()|map('int')|batch(2)) }}",
    "{{ ' ' * 999999 | wordwrap(1) }}{{ ('a' * 99999) | wordwrap(1, wrapstring='b' * 999) }}",
    "{% macro m(n) %}{{ m(n - 1) if n }}{% endmacro %}{{ m(99) }}",
    "{% for i in range(99999) %}" + "x" * 400_000 + "{% endfor %}",
    "{% macro m() %}{% for i in range(99999) %}" + "x" * 400_000 + "{% endfor %}{% endmacro %}"
    "{% set y = m() %}",
    "{% for i in range(999) %}{% filter replace('a', 'b' * 9999) %}" + "a" * 999 + "{% endfilter %}"
    "{% endfor %}",
    "{% set n = namespace(x=[]) %}{% set t = 'ab ' * 99999 %}{% for i in range(9999) %}"
    "{% set n.x = n.x + [t.split()] %}{% endfor %}",
    "{% set n = namespace() %}{% set n.x = [n] %}",
    "{% block a %}{{ self.a() }}{% endblock %}",
    "{{ ('{0.__class__}'|safe).format('') }}",
    "{{ namespace.__init__.__globals__ }}",
    "{% for i in [1] %}{{ loop._iterator }}{% endfor %}",
]


@pytest.mark.parametrize("template", HOSTILE_VALUES, ids=range(len(HOSTILE_VALUES)))
def test_hostile_values_end_soon(template: str) -> None:
    test_hostile_templates_end_soon(template)


@pytest.mark.parametrize(
    "template",
    [
        "{% if messages | selectattr('role', 'eq', 'nobody') %}a generator is true{% endif %}",
        "{{ messages | map(attribute='role') | map('upper') | list }}",
        "{{ 'abc'.center(9) }}|{{ 'a-b-c'.rsplit('-', 1) }}|{{ 'x'.zfill(3) }}|{{ '%5.1f' % 2 }}",
        "{{ '%s: %d' | format('a', 1) }} {{ '{:>5}{:.1f}'.format('a', 2.55) }} {{ 2 ** 10 * 1.5 }}",
        "{{ messages | tojson(indent=2) }}{{ tools | tojson(separators=(',', ':')) }}",
        "{{ [3, 1, 2] | sort | join('-') }} {{ [1, 2, 3] | sum }} {{ range(5, 0, -2) | list }}",
        "{{ dict(a=1, **{'b': 2}) }} {{ {'a': 1}.items() | list }} {{ 'a' 'b' ~ 1 }} {{ 7 % 4 }}",
        "{% set x %}a{{ 1 }}{% endset %}{{ x * 3 }}{{ 2 * [x] }}{{ x | indent(2, true) }}",
        "{% for x in [1, [2, [3]]] recursive %}{{ loop(x) if x is iterable else x }}{% endfor %}",
        "{% for k, v in {'a': 1}.items() if v %}{{ k }}{{ loop.last }}{% else %}-{% endfor %}",
        "{% macro m(x, y=[1]) %}{{ x }}{{ y }}{{ caller() }}{% endmacro %}"
        "{% call m('a') %}b{% endcall %}",
        "{% filter upper %}a{% endfilter %}{{ undefined_name }}{{ messages[0].nothing }}",
        "{% set c = cycler('a', 'b') %}{{ c.next() }}{{ c.next() }}{{ c.current }}{{ c.reset() }}",
        "{% set j = joiner('|') %}{% for x in 'abc' %}{{ j() }}{{ x }}{% endfor %}",
        "{{ 'one two three four'|wordwrap(9) }}{{ 'abcdefgh'|wordwrap(3, false, wrapstring='-') }}",
        "{{ 'ÀB'.casefold() }}{{ 'é'.encode('utf-8').decode('latin-1') }}{{ 'a,b'.partition(',') }}"
        "{{ 'ab'.removeprefix('a') }}",
        "{{ 'a\tb'.expandtabs(4) }}{{ 'x'.isalnum() }}{{ 'ab'.translate({97: 'c'}) }}",
        "{% for x in [1] %}{% set n = namespace(a=1) %}{% set n.a = range(2)|list %}"
        "{{ 'ab'.replace('a', 'c') }}{{ n.a }}{% endfor %}",
        "{% macro m(n) %}{% if n %}{{ m(n - 1) }}{% endif %}x{% endmacro %}{{ m(49) }}",
    ],
)
def test_what_a_template_computes_is_what_jinja_does(template: str) -> None:
    expected = plain_jinja(template, messages=MESSAGES, tools=TOOLS)
    assert render_chat_template(template, MESSAGES, tools=TOOLS) == expected


def test_threads_render_one_template() -> None:
    template = "{% for i in range(2000) %}{{ messages[0].content }}{{ i }};{% endfor %}"
    texts = [f"thread {n} " for n in range(4)]
    with ThreadPoolExecutor(4) as pool:
        rendered = pool.map(
            lambda text: render_chat_template(template, [{"role": "user", "content": text}]), texts
        )
        for text, found in zip(texts, rendered, strict=True):
            assert found == "".join(f"{text}{i};" for i in range(2000))


def test_a_trace_function_of_others_is_kept() -> None:
    import sys

    def trace(*_: object) -> None:
        return None

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        render_chat_template("{{ messages }}", MESSAGES)
        assert sys.gettrace() is trace
    finally:
        sys.settrace(before)
