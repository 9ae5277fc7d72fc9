"""Chat templates give what transformers gives, and hostile ones end in an error, quickly."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import jinja2
import jinja2.sandbox
import pytest

from oxillama_web.chat.template import render_chat_template
from oxillama_web.errors import ChatTemplateError
from oxillama_web.gguf.reader import GGUFFile

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
    environment.filters["tojson"] = lambda value, indent=None: json.dumps(
        value, ensure_ascii=False, indent=indent
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
