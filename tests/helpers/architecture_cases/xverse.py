"""XVERSE."""

from tiny_file import Case, llama_case

CASES = {"xverse": Case("xverse", llama_case(3, 4, 4, 16))}
