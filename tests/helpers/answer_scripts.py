"""What models of each family write when they call tools, and the templates that say so."""

from __future__ import annotations

import json
from typing import Any, NamedTuple

from paths import GOLDEN

from oxillama_web.chat.answer_format import AnswerFormat, answer_format

_FAMILIES = json.loads((GOLDEN / "chat_templates.json").read_text())["families"]
TEMPLATES: dict[str, str] = {
    **{family: case["template"] for family, case in _FAMILIES.items()},
    **json.loads((GOLDEN / "call_templates.json").read_text()),
}
_INTEGER, _NUMBER, _TEXT = ({"type": name} for name in ("integer", "number", "string"))
WEATHER: dict[str, Any] = {
    "type": "object",
    "properties": {"city": _TEXT, "days": _INTEGER, "factor": _NUMBER, "tags": {"type": "array"}},
    "required": ["city"],
}
TOOLS: list[dict[str, Any]] = [
    {
        "type": "function",
        "function": {"name": "get_weather", "description": "d", "parameters": WEATHER},
    },
    {
        "type": "function",
        "function": {"name": "now", "description": "d", "parameters": {"type": "object"}},
    },
]
# Where a format has JSON, it is passed on to the letter.
JSON = '{"city":  "K\\u00f6ln <b>",\n "days": 12345678901234567890, "factor": 1.0, "tags": [1, {}]}'
# In other formats the arguments are made JSON, but numbers are still as the model wrote them.
PAIRS = (
    '{"city": "Köln \\"<b>", "days": 12345678901234567890, "factor": 1.0, "tags": [1, {"a": true}]}'
)


class Script(NamedTuple):
    """The text of calls of get_weather and of `now`, and the arguments of the first."""

    first: str
    separator: str
    second: str
    end: str
    arguments: str


def _hermes(arguments: str = "arguments") -> Script:
    return Script(
        f'<tool_call>\n{{"name": "get_weather", "{arguments}": {JSON}}}\n</tool_call>',
        "\n",
        f'<tool_call>\n{{"name": "now", "{arguments}": {{}}}}\n</tool_call>',
        "",
        JSON,
    )


def _listed(start: str, end: str, name: str = "name", arguments: str = "arguments") -> Script:
    return Script(
        f'{start}[{{"{name}": "get_weather", "{arguments}": {JSON}}}',
        ", ",
        f'{{"{name}": "now", "{arguments}": {{}}}}',
        f"]{end}",
        JSON,
    )


def _named(start: str, first: str, middle: str, close: str, end: str = "") -> Script:
    return Script(
        f"{start}{first}get_weather{middle.replace('#', '0')}{JSON}{close}",
        "",
        f"{first}now{middle.replace('#', '1')}{{}}{close}",
        end,
        JSON,
    )


def _tagged(start: str, name_end: str, key: str, value: str, value_end: str, close: str) -> Script:
    texts = {
        "city": 'Köln "<b>', "days": "12345678901234567890", "factor": "1.0",
        "tags": '[1, {"a": true}]',
    }  # fmt: skip
    pairs = "".join(f"{key}{name}{value}{text}{value_end}" for name, text in texts.items())
    return Script(
        f"{start}get_weather{name_end}{pairs}{close}", "\n", f"{start}now{name_end}{close}", "",
        PAIRS,
    )  # fmt: skip


_PYTHON = Script(
    "<|tool_call_start|>[get_weather(city='Köln \"<b>', days=12345678901234567890, factor=1.0, "
    "tags=[1, {'a': True}])",
    ", ", "now()", "]<|tool_call_end|>", PAIRS,
)  # fmt: skip
_BARE = Script(f'{{"name": "get_weather", "parameters": {JSON}}}', "", "", "", JSON)
_QWEN_XML = _tagged(
    "<tool_call>\n<function=", ">\n", "<parameter=", ">\n", "\n</parameter>\n",
    "</function>\n</tool_call>",
)  # fmt: skip
_GLM = _tagged(
    "<tool_call>", "\n", "<arg_key>", "</arg_key>\n<arg_value>", "</arg_value>\n", "</tool_call>"
)

SCRIPTS: dict[str, Script] = {
    "Qwen2.5": _hermes(),
    "Qwen3": _hermes(),
    "QwQ": _hermes(),
    "Hermes 3": _hermes(),
    "Granite 4": _hermes(),
    "Granite 3.3": _listed("<|tool_call|>", ""),
    "Llama 3.1": _BARE,
    "Llama 3.2": _BARE,
    "Mistral Nemo": _listed("[TOOL_CALLS]", ""),
    "Mistral Small 3.2": _named("", "[TOOL_CALLS]", "[CALL_ID]abc123XYZ[ARGS]", ""),
    "Ministral 3": _named("", "[TOOL_CALLS]", "[ARGS]", ""),
    "Devstral": _named("", "[TOOL_CALLS]", "[ARGS]", ""),
    "Command R7B": _listed("<|START_ACTION|>", "<|END_ACTION|>", "tool_name", "parameters"),
    "Command A": _listed("<|START_ACTION|>", "<|END_ACTION|>", "tool_name", "parameters"),
    "DeepSeek R1": _named(
        "<｜tool▁calls▁begin｜>", "<｜tool▁call▁begin｜>function<｜tool▁sep｜>", "\n```json\n",
        "\n```<｜tool▁call▁end｜>", "<｜tool▁calls▁end｜>",
    ),
    "DeepSeek V3.1": _named(
        "<｜tool▁calls▁begin｜>", "<｜tool▁call▁begin｜>", "<｜tool▁sep｜>", "<｜tool▁call▁end｜>",
        "<｜tool▁calls▁end｜>",
    ),
    "Kimi K2": _named(
        "<|tool_calls_section_begin|>", "<|tool_call_begin|>functions.",
        ":#<|tool_call_argument_begin|>", "<|tool_call_end|>", "<|tool_calls_section_end|>",
    ),
    "functionary": _named("", "<function=", ">", "</function>"),
    "LFM2": _PYTHON,
    "LFM2.5": _PYTHON,
    "GLM 4.6": _GLM,
    "Qwen3-Coder": _QWEN_XML,
    "Nemotron 3": _QWEN_XML,
    "Seed-OSS": _tagged(
        "<seed:tool_call>\n<function=", ">\n", "<parameter=", ">", "</parameter>\n",
        "</function>\n</seed:tool_call>",
    ),
    "MiniCPM5": _tagged(
        '<function name="', '">', '<param name="', '">', "</param>", "</function>"
    ),
    "MiniMax M2": Script(
        '<minimax:tool_call>\n<invoke name="get_weather">\n<parameter name="city">Köln "<b>'
        '</parameter>\n<parameter name="days">12345678901234567890</parameter>\n'
        '<parameter name="factor">1.0</parameter>\n'
        '<parameter name="tags">[1, {"a": true}]</parameter>\n</invoke>',
        "\n", '<invoke name="now">\n</invoke>', "\n</minimax:tool_call>", PAIRS,
    ),
    "DeepSeek V3.2": Script(
        '<｜DSML｜function_calls>\n<｜DSML｜invoke name="get_weather">\n'
        '<｜DSML｜parameter name="city" string="true">Köln "<b></｜DSML｜parameter>\n'
        '<｜DSML｜parameter name="days" string="false">12345678901234567890</｜DSML｜parameter>\n'
        '<｜DSML｜parameter name="factor" string="false">1.0</｜DSML｜parameter>\n'
        '<｜DSML｜parameter name="tags" string="false">[1, {"a": true}]</｜DSML｜parameter>\n'
        "</｜DSML｜invoke>",
        "\n", '<｜DSML｜invoke name="now">\n</｜DSML｜invoke>', "\n</｜DSML｜function_calls>",
        PAIRS,
    ),
    "Gemma 4": Script(
        '<|tool_call>call:get_weather{city:<|"|>Köln "<b><|"|>,days:12345678901234567890,'
        "factor:1.0,tags:[1,{a:true}]}<tool_call|>",
        "", "<|tool_call>call:now{}<tool_call|>", "", PAIRS,
    ),
    "Apertus": Script(
        f'<|tools_prefix|>[{{"get_weather": {JSON}}}', ", ", '{"now": {}}', "]<|tools_suffix|>",
        JSON,
    ),
}  # fmt: skip


def format_of(family: str) -> AnswerFormat:
    """Return the format of a family's answers."""
    return answer_format(TEMPLATES[family], "<s>", "</s>")
