"""EXAONE 3."""

from tiny_file import Case, llama_case

CASES = {"exaone": Case("exaone", llama_case(3, 4, 2, 16))}
