"""SmolLM3."""

from gguf_vocabularies import add_byte_level_vocabulary
from tiny_file import VOCAB, Case, TinyFile, llama_like


def _smollm3(file: TinyFile) -> None:
    file.sizes(5, 4, 2, 16, rope_dim=16)
    add_byte_level_vocabulary(file.writer, VOCAB)
    llama_like(file, tied=True)


CASES = {"smollm3": Case("smollm3", _smollm3)}
