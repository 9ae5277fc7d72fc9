"""LFM2, without and with experts."""

from gguf_vocabularies import add_byte_level_vocabulary
from tiny_file import VOCAB, WIDTH, Case, TinyFile

TAPS = 3
# 0: a short convolution
KEY_HEADS = [0, 0, 2, 0, 2]


def lfm2_like(file: TinyFile, *, experts: bool = False) -> None:
    file.sizes(len(KEY_HEADS), 4, KEY_HEADS, 16)
    writer = file.writer
    writer.add_uint32(f"{file.arch}.shortconv.l_cache", TAPS)
    writer.add_rope_freq_base(1e6)
    n_dense = len(KEY_HEADS)
    if experts:
        n_dense = 1
        file.expert_sizes(4, 2, 32)
        writer.add_leading_dense_block_count(n_dense)
        writer.add_uint32(f"{file.arch}.expert_gating_func", 2)  # sigmoid
    add_byte_level_vocabulary(writer, VOCAB, "lfm2")
    file.embedding(tied=True)
    for layer, block in enumerate(file.blocks()):
        file.norm(block + "attn_norm", WIDTH)
        if KEY_HEADS[layer]:
            file.n_kv = KEY_HEADS[layer] * file.head_dim
            file.attention(block)
            file.norm(block + "attn_q_norm", file.head_dim)
            file.norm(block + "attn_k_norm", file.head_dim)
        else:
            file.linear(block + "shortconv.in_proj", WIDTH, 3 * WIDTH, size=1.5)
            file.vector(block + "shortconv.conv.weight", 0.7 * file.random(WIDTH, TAPS))
            file.linear(block + "shortconv.out_proj", WIDTH, WIDTH)
        file.norm(block + "ffn_norm", WIDTH)
        if layer < n_dense:
            file.gated_feed_forward(block)
        else:
            file.experts(block, selection_bias=True)
    file.norm("token_embd_norm", WIDTH)


CASES = {
    "lfm2": Case("lfm2", lfm2_like),
    "lfm2moe": Case("lfm2moe", lambda file: lfm2_like(file, experts=True), has_experts=True),
}
