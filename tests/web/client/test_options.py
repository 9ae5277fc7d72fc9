"""Options of the JavaScript module: web/client/options.js and web/client/sampling.js, in Node."""

from __future__ import annotations

import dataclasses
import json
import re
import subprocess
from typing import Any

import pytest
from paths import ROOT

from oxillama_web import SamplerConfig

# the annotations in Python of each kind in JavaScript
ANNOTATIONS = {
    "number": {"float"},
    "count": {"int"},
    "integer": {"int | None"},
    "text": {"str | None"},
    "texts": {"tuple[str, ...]"},
    "tokens": {"tuple[int, ...]"},
    "biases": {"Mapping[int, float]"},
    "any": {"Mapping[str, Any] | bool | str | None"},
}


def run(body: str, **values: Any) -> Any:
    """What the body of a function returns; an error as {"code", "message"}."""
    script = f"""
        import {{ answerOptions, checkOptions }} from "{ROOT}/web/client/options.js";
        import {{ checkArguments }} from "{ROOT}/web/client/checks.js";
        import {{ SAMPLING }} from "{ROOT}/web/client/sampling.js";
        import {{ toSnakeCase }} from "{ROOT}/web/protocol.js";
        const run = ({{ {", ".join(values)} }}) => {{ {body} }};
        let result;
        try {{
            result = run({json.dumps(values)});
        }} catch ({{ code, message }}) {{
            result = {{ code, message }};
        }}
        console.log(JSON.stringify(result));
    """
    command = ["node", "--input-type=module", "--eval", script]
    done = subprocess.run(command, check=True, capture_output=True, text=True, cwd=ROOT)
    return json.loads(done.stdout)


def test_every_field_of_the_sampler_has_its_option() -> None:
    declared = run(
        "return Object.entries(SAMPLING).map(([name, type]) => [toSnakeCase(name), type]);"
    )
    fields = {field.name: field.type for field in dataclasses.fields(SamplerConfig)}
    assert [name for name, _ in declared] == list(fields)
    for name, kind in declared:
        assert fields[name] in ANNOTATIONS[kind], name


def test_options_have_pythons_names() -> None:
    options = {
        "maxTokens": 3, "topK": 1, "drySequenceBreakers": ["\n"], "stages": ["top_k"],
        "stop": ["x"], "logprobs": 2, "tools": [], "seed": None,
    }  # fmt: skip
    assert run('return answerOptions("chat", options);', options=options) == {
        "max_tokens": 3,
        "logprobs": 2,
        "tools": [],
        "sampler": {
            "top_k": 1, "dry_sequence_breakers": ["\n"], "stages": ["top_k"], "stop": ["x"],
        },
    }  # fmt: skip


@pytest.mark.parametrize(
    ("method", "name", "meant"),
    [
        ("generate", "temprature", "temperature"),
        ("generate", "max_tokens", "maxTokens"),
        ("generate", "topk", "topK"),
        ("generate", "dryBreakers", None),
        ("generate", "tools", None),
        ("chat", "tool", "tools"),
        ("chat", "onDecoded", "onDecode"),
        ("load", "contextsize", "contextSize"),
        ("load", "temperature", None),
        ("embed", "normalise", "normalize"),
        ("embed", "topK", None),
        ("loadLora", "scales", "scale"),
    ],
)
def test_an_unknown_option_is_refused_by_name(method: str, name: str, meant: str | None) -> None:
    refused = run("checkOptions(method, { [name]: 1 });", method=method, name=name)
    assert refused["code"] == "invalid_request"
    hint = "" if meant is None else f'; did you mean "{meant}"?'
    assert refused["message"] == f'{method}: unknown option "{name}"{hint}'


NUMBERS = ["'5'", "true", "NaN", "Infinity", "5n", "[]", "{}", "Symbol('x')", "() => 1"]
NOT_INTEGERS = ["2.5", "1e300", *NUMBERS]
NOT_COUNTS = ["-1", *NOT_INTEGERS]
NOT_OBJECTS = ["'x'", "5", "true", "[]"]
# By method and option: expressions of values that are refused, and what the message asks for.
REFUSED: dict[tuple[str, str], tuple[list[str], str]] = {
    ("load", "contextSize"): (["0", *NOT_COUNTS], "a whole number, 1 or more"),
    ("load", "contextKeep"): (NOT_COUNTS, "a whole number, 0 or more"),
    ("load", "contextFull"): (["'roll'", "1"], '"stop" or "shift"'),
    ("load", "threads"): (["0", *NOT_COUNTS], "a whole number, 1 or more"),
    ("load", "memoryBudget"): (["0", *NOT_COUNTS], "a whole number, 1 or more"),
    ("load", "cache"): (["true", "'yes'"], '"use", "check" or "off"'),
    ("load", "onProgress"): (NOT_OBJECTS, "a function"),
    ("load", "signal"): (["{}", *NOT_OBJECTS], "an AbortSignal"),
    ("generate", "maxTokens"): (NOT_COUNTS, "a whole number, 0 or more"),
    ("generate", "logprobs"): (NOT_COUNTS, "a whole number, 0 or more"),
    ("generate", "signal"): (["{}", *NOT_OBJECTS], "an AbortSignal"),
    ("generate", "onDecode"): (NOT_OBJECTS, "a function"),
    ("generate", "temperature"): (NUMBERS, "a finite number"),
    ("generate", "topK"): (NOT_COUNTS, "a whole number, 0 or more"),
    ("generate", "seed"): (NOT_INTEGERS, "a whole number"),
    ("generate", "stop"): (["'x'", "[1]", "5"], "a list of texts"),
    ("generate", "bannedTokens"): (["['x']", "[1.5]", "1"], "a list of token ids"),
    ("generate", "logitBias"): (
        ["{ the: 1 }", "{ 3: 'x' }", "[1]", "{ 3: NaN }"],
        "an object of numbers by token id",
    ),
    ("generate", "grammar"): (["{ root: 1 }", "5"], "a text"),
    ("chat", "tools"): (["{}", "['x']", "[null]"], "a list of objects"),
    ("chat", "variables"): (NOT_OBJECTS, "an object"),
    ("embed", "pooling"): (["'sum'", "1"], '"last", "mean", "max" or "cls"'),
    ("embed", "normalize"): (["1", "'no'"], "true or false"),
    ("loadLora", "scale"): (NUMBERS, "a finite number"),
}


def refusals(calls: list[str]) -> list[dict[str, str]]:
    """The errors of JavaScript expressions, each of which must throw one."""
    return run(
        f"""
        return [{", ".join(f"() => {call}" for call in calls)}].map((call) => {{
            try {{ call(); }} catch ({{ code, message }}) {{ return {{ code, message }}; }}
            return {{ code: "none", message: String(call) }};
        }});
        """
    )


def test_values_of_another_kind_are_refused_by_name() -> None:
    cases = [
        (f"checkOptions('{method}', {{ {name}: {value} }})", name, expected)
        for (method, name), (values, expected) in REFUSED.items()
        for value in values
    ]
    for error, (call, name, expected) in zip(refusals([c[0] for c in cases]), cases, strict=True):
        assert error["code"] == "invalid_request", call
        assert error["message"].startswith(f"{name} is "), call
        assert error["message"].endswith(f"; it must be {expected}"), call
        assert len(error["message"]) < 200, call


@pytest.mark.parametrize(
    ("name", "values", "expected"),
    [
        ("prompt", ["5", "null", "undefined", "['x']"], "a text"),
        ("text", ["5", "null"], "a text"),
        ("texts", ["'x'", "[1]", "null"], "a list of texts"),
        ("messages", ["'x'", "['x']", "null"], "a list of messages, each {role, content}"),
        ("bytes", ["'x'", "[1]", "null"], "a Uint8Array"),
    ],
)
def test_arguments_of_another_kind_are_refused_by_name(
    name: str, values: list[str], expected: str
) -> None:
    for error in refusals([f"checkArguments({{ {name}: {value} }})" for value in values]):
        assert error["code"] == "invalid_request"
        assert re.fullmatch(rf"{name} is .*; it must be {re.escape(expected)}", error["message"])


def test_what_is_left_out_is_not_refused() -> None:
    run("checkOptions('load', { contextSize: undefined, threads: null }); return null;")
    assert run("return answerOptions('chat', { maxTokens: null, topK: null });") == {"sampler": {}}
    for options in ("5", "null", "'x'"):
        [error] = refusals([f"checkOptions('load', {options})"])
        assert error["message"] == "load: the options must be an object"
