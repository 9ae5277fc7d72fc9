"""ERNIE 4.5."""

from tiny_file import Case, llama_case

CASES = {"ernie4_5": Case("ernie4_5", llama_case(3, 4, 2, 32, tied=True))}
