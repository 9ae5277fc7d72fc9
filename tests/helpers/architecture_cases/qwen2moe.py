"""Qwen 2 as a mixture of experts."""

from gguf_files import write_tiny_experts
from tiny_file import OtherCase

CASES = {
    "qwen2moe": OtherCase(
        "qwen2moe",
        write_tiny_experts,
        {"arch": "qwen2moe", "n_experts": 7, "n_used": 3, "ffn": 64, "seed": 34},
    ),
}
