"""ChatGLM."""

from tiny_file import Case, llama_case

CASES = {
    "chatglm": Case(
        "chatglm", llama_case(3, 4, 2, 16, rope_dim=8, bias=True, merged=True, pre="chatglm-bpe")
    )
}
