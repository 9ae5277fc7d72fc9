"""Refact."""

from tiny_file import Case, llama_case

CASES = {"refact": Case("refact", llama_case(3, 6, 1, 16, pre="refact"))}
