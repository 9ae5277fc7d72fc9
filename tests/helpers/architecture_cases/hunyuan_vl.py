"""HunyuanOCR, the text part."""

from tiny_file import Case, llama_case

CASES = {
    "hunyuan_vl": Case(
        "hunyuan_vl",
        llama_case(
            3, 4, 2, 16, sections=[2, 2, 4, 0], qk_norm=True, tied=True, pre="hunyuan-dense"
        ),
    )
}
