"""Qwen 3 VL, the text part."""

from tiny_file import Case, llama_case

CASES = {
    "qwen3vl": Case(
        "qwen3vl", llama_case(3, 4, 2, 16, sections=[3, 3, 2, 0], qk_norm=True, pre="qwen2")
    )
}
