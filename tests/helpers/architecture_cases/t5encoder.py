"""T5's encoder, with ReLU and with gates."""

from functools import partial

from gguf_vocabularies import add_byte_level_vocabulary
from tiny_file import FFN, VOCAB, WIDTH, Case, TinyFile

N_BUCKETS = 32


def _t5_encoder(file: TinyFile, *, gated: bool = False) -> None:
    file.sizes(3, 4, 4, 24)
    file.writer.add_relative_attn_buckets_count(N_BUCKETS)
    add_byte_level_vocabulary(file.writer, VOCAB, "llama-bpe")
    file.embedding(tied=True)
    file.vector("enc.blk.0.attn_rel_b.weight", file.random(N_BUCKETS, file.n_heads))
    for block in (f"enc.{block}" for block in file.blocks()):
        file.norm(block + "attn_norm", WIDTH)
        for name in "qk":  # scores are not scaled
            file.linear(f"{block}attn_{name}", WIDTH, file.n_q, size=0.5)
        file.linear(block + "attn_v", WIDTH, file.n_q, size=1.5)
        file.linear(block + "attn_o", file.n_q, WIDTH)
        file.norm(block + "ffn_norm", WIDTH)
        if gated:
            file.gated_feed_forward(block)
        else:
            file.linear(block + "ffn_up", WIDTH, FFN, size=1.5)
            file.linear(block + "ffn_down", FFN, WIDTH)
    file.norm("enc.output_norm", WIDTH)


CASES = {
    "t5encoder": Case("t5encoder", _t5_encoder, is_encoder=True),
    "t5encoder-gated": Case(
        "t5encoder",
        partial(_t5_encoder, gated=True),
        family="t5encoder, with gates",
        is_encoder=True,
    ),
}
