"""Maincoder."""

from tiny_file import Case, llama_case

CASES = {"maincoder": Case("maincoder", llama_case(3, 4, 2, 16, qk_norm=True, tied=True))}
