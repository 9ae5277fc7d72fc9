"""PaddleOCR-VL, the text part."""

from tiny_file import Case, llama_case

CASES = {
    "paddleocr": Case(
        "paddleocr", llama_case(3, 4, 2, 16, sections=[2, 3, 3, 0], tied=True, pre="default")
    )
}
