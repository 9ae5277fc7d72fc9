"""Qwen 3 as a mixture of experts."""

from gguf_files import write_tiny_experts
from tiny_file import OtherCase

CASES = {
    "qwen3moe": OtherCase(
        "qwen3moe",
        write_tiny_experts,
        {"arch": "qwen3moe", "n_experts": 9, "n_used": 3, "ffn": 64, "seed": 8},
    ),
}
