"""openPangu Embedded."""

from tiny_file import Case, llama_case

CASES = {
    "pangu-embedded": Case("pangu-embedded", llama_case(3, 4, 2, 32, bias=True, output_bias=True))
}
