"""DBRX."""

from gguf_vocabularies import add_byte_level_vocabulary
from tiny_file import FFN, VOCAB, WIDTH, Case, TinyFile


def _dbrx(file: TinyFile) -> None:
    file.sizes(3, 4, 2, 16, layer_norm=True)
    file.expert_sizes(6, 2, FFN)
    file.writer.add_clamp_kqv(1.2)
    add_byte_level_vocabulary(file.writer, VOCAB, "dbrx")
    file.embedding()
    for block in file.blocks():
        file.norm(block + "attn_norm", WIDTH)
        file.attention(block, merged=True)
        file.norm(block + "attn_output_norm", WIDTH)
        file.experts(block)
    file.norm("output_norm", WIDTH)


CASES = {"dbrx": Case("dbrx", _dbrx, has_experts=True)}
