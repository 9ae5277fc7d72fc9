"""Options of the JavaScript module: web/client/options.js and web/client/sampling.js, in Node."""

from __future__ import annotations

import dataclasses
import json
import subprocess
from typing import Any

import pytest
from paths import ROOT

from oxillama_web import SamplerConfig

# the annotations in Python of each type in JavaScript
ANNOTATIONS = {
    "number": {"float", "int", "int | None"},
    "text": {"str | None"},
    "texts": {"tuple[str, ...]"},
    "tokens": {"tuple[int, ...]"},
    "biases": {"Mapping[int, float]"},
    "schema": {"Mapping[str, Any] | bool | str | None"},
}


def run(body: str, **values: Any) -> Any:
    """What the body of a function returns; an error as {"code", "message"}."""
    script = f"""
        import {{ answerOptions, checkNames }} from "{ROOT}/web/client/options.js";
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
    refused = run("checkNames(method, { [name]: 1 });", method=method, name=name)
    assert refused["code"] == "invalid_request"
    hint = "" if meant is None else f'; did you mean "{meant}"?'
    assert refused["message"] == f'{method}: unknown option "{name}"{hint}'


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("temperature", "0.5", "a finite number"),
        ("stop", "x", "a list of texts"),
        ("bannedTokens", ["x"], "a list of token ids"),
        ("logitBias", {"the": 1}, "an object of numbers by token id"),
        ("logitBias", {"3": "x"}, "an object of numbers by token id"),
        ("grammar", {"root": 1}, "a text"),
    ],
)
def test_a_value_of_another_type_is_refused(name: str, value: Any, expected: str) -> None:
    refused = run('answerOptions("generate", { [name]: value });', name=name, value=value)
    assert refused["code"] == "invalid_request"
    assert refused["message"].startswith(f"{name} is ")
    assert refused["message"].endswith(f"; it must be {expected}")
