"""Qwen 3."""

from gguf_vocabularies import add_byte_level_vocabulary
from tiny_file import VOCAB, Case, TinyFile, llama_like


def _qwen3(file: TinyFile) -> None:
    file.sizes(3, 4, 2, 32)
    file.writer.add_rope_freq_base(1e6)
    add_byte_level_vocabulary(file.writer, VOCAB, "qwen2")
    llama_like(file, qk_norm=True)


CASES = {"qwen3": Case("qwen3", _qwen3)}
