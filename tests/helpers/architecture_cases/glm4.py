"""GLM 4."""

from gguf_vocabularies import add_byte_level_vocabulary
from tiny_file import VOCAB, WIDTH, Case, TinyFile


def _glm4(file: TinyFile) -> None:
    file.sizes(3, 4, 2, 32, rope_dim=16)
    add_byte_level_vocabulary(file.writer, VOCAB, "glm4")
    file.embedding()
    for block in file.blocks():
        file.norm(block + "attn_norm", WIDTH)
        file.attention(block, bias=True)
        file.norm(block + "post_attention_norm", WIDTH)
        file.norm(block + "ffn_norm", WIDTH)
        file.gated_feed_forward(block, merged=True)
        file.norm(block + "post_ffw_norm", WIDTH)
    file.norm("output_norm", WIDTH)


CASES = {"glm4": Case("glm4", _glm4)}
