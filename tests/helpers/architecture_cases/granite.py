"""Granite."""

from gguf_vocabularies import add_byte_level_vocabulary
from tiny_file import VOCAB, Case, TinyFile, llama_like


def _granite(file: TinyFile) -> None:
    file.sizes(3, 4, 2, 16)
    file.writer.add_attention_scale(0.2)
    file.writer.add_embedding_scale(12.0)
    file.writer.add_residual_scale(0.6)
    file.writer.add_logit_scale(1.6)
    add_byte_level_vocabulary(file.writer, VOCAB, "refact")
    llama_like(file, embedding_scale=12.0)


CASES = {"granite": Case("granite", _granite)}
