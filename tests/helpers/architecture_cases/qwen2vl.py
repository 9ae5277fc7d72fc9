"""Qwen 2 VL, the text part."""

from tiny_file import Case, llama_case

CASES = {
    "qwen2vl": Case(
        "qwen2vl", llama_case(3, 4, 2, 16, sections=[2, 3, 3, 0], bias=True, pre="qwen2")
    )
}
