"""Writes chat_templates.json: published chat templates, and what transformers makes of them.

It writes call_templates.json, too: templates that show how further families write tool calls.

    python -m venv hf && hf/bin/pip install transformers==5.23.0 jinja2
    hf/bin/python tests/golden/make_chat_templates.py FOLDER

FOLDER holds templates as NAME.jinja, such as llama.cpp's models/templates. Dates are those of one
day, so that templates that ask for today give the same text every day.
"""

from __future__ import annotations

import json
import sys
from datetime import datetime
from pathlib import Path
from typing import Any

from transformers.utils import chat_template_utils

TODAY = datetime(2026, 7, 26, 12, 30)
FAMILIES = {
    "Qwen2.5": "Qwen-Qwen2.5-7B-Instruct",
    "Qwen3": "Qwen-Qwen3-0.6B",
    "QwQ": "Qwen-QwQ-32B",
    "Llama 3.1": "meta-llama-Llama-3.1-8B-Instruct",
    "Llama 3.2": "meta-llama-Llama-3.2-3B-Instruct",
    "Gemma 2": "google-gemma-2-2b-it",
    "Phi 3.5": "microsoft-Phi-3.5-mini-instruct",
    "SmolLM3": "HuggingFaceTB-SmolLM3-3B",
    "Granite 3.3": "ibm-granite-granite-3.3-2B-Instruct",
    "Granite 4": "ibm-granite-granite-4.0",
    "Command R7B": "CohereForAI-c4ai-command-r7b-12-2024-tool_use",
    "Mistral Nemo": "mistralai-Mistral-Nemo-Instruct-2407",
    "DeepSeek R1": "deepseek-ai-DeepSeek-R1-Distill-Qwen-32B",
    "DeepSeek V3.1": "deepseek-ai-DeepSeek-V3.1",
    "Hermes 3": "NousResearch-Hermes-3-Llama-3.1-8B-tool_use",
    "Kimi K2": "Kimi-K2-Instruct",
    "LFM2": "LFM2-8B-A1B",
    "GLM 4.6": "GLM-4.6",
    "gpt-oss": "openai-gpt-oss-120b",
}
CALL_FAMILIES = {
    "Apertus": "Apertus-8B-Instruct",
    "Command A": "Cohere2MoE",
    "DeepSeek V3.2": "deepseek-ai-DeepSeek-V3.2",
    "Devstral": "unsloth-mistral-Devstral-Small-2507",
    "functionary": "meetkai-functionary-medium-v3.1",
    "Gemma 4": "google-gemma-4-31B-it",
    "Kimi K2 (Moonshot)": "moonshotai-Kimi-K2",
    "LFM2.5": "LFM2.5-8B-A1B",
    "MiniCPM5": "openbmb-MiniCPM5-1B",
    "MiniMax M2": "MiniMax-M2",
    "Ministral 3": "mistralai-Ministral-3-14B-Reasoning-2512",
    "Mistral Small 3.2": "Mistral-Small-3.2-24B-Instruct-2506",
    "Nemotron 3": "NVIDIA-Nemotron-3-Nano-30B-A3B-BF16",
    "Qwen3-Coder": "Qwen3-Coder",
    "Seed-OSS": "ByteDance-Seed-OSS",
}
SYSTEM = {"role": "system", "content": "Answer in <b>one</b> line."}
HELLO = {"role": "user", "content": 'Hello, wörld! 👋🏽 {{ braces }} & "quotes"'}
ANSWER = {"role": "assistant", "content": "Hi.\n\nHow are you? "}
AGAIN = {"role": "user", "content": "  Fine\tthanks \n"}
WEATHER = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "description": "The weather of a city – now.",
        "parameters": {
            "type": "object",
            "properties": {
                "city": {"type": "string", "description": "such as Köln"},
                "unit": {"type": "string", "enum": ["c", "f"]},
            },
            "required": ["city"],
        },
    },
}
CALL = {
    "role": "assistant",
    "content": "",
    "tool_calls": [
        {
            "id": "call12345",
            "type": "function",
            "function": {"name": "get_weather", "arguments": {"city": "Köln", "unit": "c"}},
        }
    ],
}
RESULT = {
    "role": "tool",
    "tool_call_id": "call12345",
    "name": "get_weather",
    "content": '{"temperature": 21.5}',
}
CASES: list[dict[str, Any]] = [
    {"messages": [HELLO]},
    {"messages": [SYSTEM, HELLO]},
    {"messages": [SYSTEM, HELLO, ANSWER, AGAIN]},
    {"messages": [HELLO, ANSWER, AGAIN, ANSWER], "add_generation_prompt": False},
    {"messages": [HELLO], "tools": [WEATHER]},
    {"messages": [SYSTEM, HELLO, CALL, RESULT], "tools": [WEATHER]},
]


def main() -> int:
    class FixedDate(datetime):
        @classmethod
        def now(cls, tz: object = None) -> datetime:
            return TODAY

    chat_template_utils.datetime = FixedDate
    folder = Path(sys.argv[1])
    families = {}
    for family, name in FAMILIES.items():
        template = (folder / f"{name}.jinja").read_text()
        families[family] = {
            "template": template,
            "cases": [{**case, **render(template, case)} for case in CASES],
        }
    golden = {
        "made_with": "transformers 5.23.0",
        "templates": "llama.cpp's models/templates",
        "now": TODAY.isoformat(),
        "bos_token": "<s>",
        "eos_token": "</s>",
        "families": families,
    }
    path = Path(__file__).parent / "chat_templates.json"
    path.write_text(json.dumps(golden, ensure_ascii=False, indent=0) + "\n")
    calls = {f: (folder / f"{name}.jinja").read_text() for f, name in CALL_FAMILIES.items()}
    path.with_name("call_templates.json").write_text(
        json.dumps(calls, ensure_ascii=False, indent=0) + "\n"
    )
    n_refused = sum("error" in c for f in families.values() for c in f["cases"])
    print(path, len(families), "families", n_refused, "cases refused by their template")
    return 0


def render(template: str, case: dict[str, Any]) -> dict[str, str]:
    """What apply_chat_template gives, or that it fails."""
    try:
        texts, _ = chat_template_utils.render_jinja_template(
            conversations=[case["messages"]],
            tools=case.get("tools"),
            chat_template=template,
            add_generation_prompt=case.get("add_generation_prompt", True),
            bos_token="<s>",
            eos_token="</s>",
        )
    except Exception as error:
        return {"error": type(error).__name__}
    return {"text": texts[0]}


if __name__ == "__main__":
    sys.exit(main())
