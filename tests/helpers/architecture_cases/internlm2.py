"""InternLM 2."""

from tiny_file import Case, llama_case

CASES = {"internlm2": Case("internlm2", llama_case(3, 4, 2, 16))}
