"""An answer as JSON that follows a schema."""

from __future__ import annotations

import json
import sys

from oxillama_web import EngineConfig, InferenceEngine, SamplerConfig
from oxillama_web.hub.models import fetch

SCHEMA = {
    "type": "object",
    "properties": {
        "city": {"type": "string", "maxLength": 30},
        "inhabitants": {"type": "integer", "minimum": 0},
        "by_the_sea": {"type": "boolean"},
    },
    "required": ["city", "inhabitants", "by_the_sea"],
}


def main(max_tokens: int = 100) -> None:
    path = fetch("smollm2-135m-instruct")
    engine = InferenceEngine(EngineConfig(model_path=str(path)))
    engine.load_model()
    sampler = SamplerConfig(temperature=0.0, json_schema=SCHEMA)
    messages = [{"role": "user", "content": "Describe Lisbon as JSON."}]
    text = "".join(engine.chat(messages, max_tokens, sampler=sampler))
    try:
        print(json.loads(text))
    except ValueError:
        print(f"not finished after {max_tokens} tokens: {text}")


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
