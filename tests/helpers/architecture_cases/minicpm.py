"""MiniCPM."""

from tiny_file import Case, llama_case

CASES = {"minicpm": Case("minicpm", llama_case(3, 4, 2, 16, tied=True, embedding_scale=12.0))}
