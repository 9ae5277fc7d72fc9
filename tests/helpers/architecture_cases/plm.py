"""PLM."""

from gguf_vocabularies import add_byte_level_vocabulary
from tiny_file import VOCAB, WIDTH, Case, TinyFile

from .deepseek2 import latent_attention, latent_sizes


def _plm(file: TinyFile) -> None:
    latent_sizes(file, 3)
    add_byte_level_vocabulary(file.writer, VOCAB, "qwen2")
    file.embedding(tied=True)
    for block in file.blocks():
        file.norm(block + "attn_norm", WIDTH)
        latent_attention(file, block)
        file.norm(block + "ffn_norm", WIDTH)
        file.feed_forward(block, bias=False)
    file.norm("output_norm", WIDTH)


CASES = {"plm": Case("plm", _plm)}
