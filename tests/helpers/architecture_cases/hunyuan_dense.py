"""Hunyuan."""

from tiny_file import Case, llama_case

CASES = {
    "hunyuan-dense": Case(
        "hunyuan-dense", llama_case(3, 4, 2, 32, qk_norm=True, tied=True, pre="hunyuan-dense")
    )
}
