"""BitNet."""

from gguf_vocabularies import add_byte_level_vocabulary
from tiny_file import FFN, VOCAB, WIDTH, Case, TinyFile


def _bitnet(file: TinyFile) -> None:
    file.sizes(3, 4, 2, 16)
    add_byte_level_vocabulary(file.writer, VOCAB, "llama-bpe")
    file.embedding(tied=True)
    for block in file.blocks():
        file.norm(block + "attn_norm", WIDTH)
        file.attention(block)
        file.norm(block + "attn_sub_norm", WIDTH)
        file.norm(block + "ffn_norm", WIDTH)
        file.gated_feed_forward(block)
        file.norm(block + "ffn_sub_norm", FFN)
    file.norm("output_norm", WIDTH)


CASES = {"bitnet": Case("bitnet", _bitnet)}
