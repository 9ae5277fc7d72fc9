"""NeoBERT."""

from gguf_vocabularies import add_byte_level_vocabulary
from tiny_file import VOCAB, WIDTH, Case, TinyFile


def _neo_bert(file: TinyFile) -> None:
    file.sizes(3, 4, 4, 16)
    file.writer.add_causal_attention(False)
    add_byte_level_vocabulary(file.writer, VOCAB, "llama-bpe")
    file.embedding(tied=True)
    for block in file.blocks():
        file.norm(block + "attn_norm", WIDTH)
        file.attention(block, merged=True)
        file.norm(block + "ffn_norm", WIDTH)
        file.gated_feed_forward(block, merged=True)
    file.norm("enc.output_norm", WIDTH)


CASES = {"neo-bert": Case("neo-bert", _neo_bert, is_encoder=True)}
