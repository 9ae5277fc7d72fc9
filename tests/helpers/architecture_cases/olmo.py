"""OLMo."""

from gguf_vocabularies import add_byte_level_vocabulary
from tiny_file import VOCAB, Case, TinyFile


def _olmo(file: TinyFile) -> None:
    file.sizes(3, 4, 4, 16, layer_norm=True)
    file.writer.add_clamp_kqv(1.2)
    add_byte_level_vocabulary(file.writer, VOCAB, "olmo")
    file.embedding(tied=True)
    for block in file.blocks():
        file.attention(block)
        file.gated_feed_forward(block)


CASES = {"olmo": Case("olmo", _olmo)}
