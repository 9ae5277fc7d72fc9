"""Qwen 2."""

from gguf_vocabularies import add_byte_level_vocabulary
from tiny_file import VOCAB, Case, TinyFile, llama_like


def _qwen2(file: TinyFile) -> None:
    file.sizes(3, 4, 2, 16)
    add_byte_level_vocabulary(file.writer, VOCAB, "qwen2")
    llama_like(file, tied=True, bias=True)


CASES = {"qwen2": Case("qwen2", _qwen2)}
