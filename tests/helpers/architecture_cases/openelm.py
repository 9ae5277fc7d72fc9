"""OpenELM: each layer has more heads, and a larger feed-forward, than the one before."""

from gguf_vocabularies import add_byte_level_vocabulary
from tiny_file import VOCAB, WIDTH, Case, TinyFile

HEADS, KV_HEADS, FFNS = [2, 4, 6], [1, 2, 3], [64, 96, 128]


def _openelm(file: TinyFile) -> None:
    writer = file.writer
    writer.add_name("tiny")
    writer.add_block_count(3)
    writer.add_context_length(512)
    writer.add_embedding_length(WIDTH)
    writer.add_feed_forward_length(FFNS)
    writer.add_head_count(HEADS)
    writer.add_head_count_kv(KV_HEADS)
    writer.add_key_length(16)
    writer.add_value_length(16)
    writer.add_rope_dimension_count(16)
    writer.add_layer_norm_rms_eps(1e-5)
    add_byte_level_vocabulary(writer, VOCAB)
    file.embedding(tied=True)
    for layer, (n_heads, n_kv_heads, ffn) in enumerate(zip(HEADS, KV_HEADS, FFNS, strict=True)):
        block = f"blk.{layer}."
        file.norm(block + "attn_norm", WIDTH)
        file.matrix(block + "attn_qkv.weight", WIDTH, 16 * (n_heads + 2 * n_kv_heads), 1.5)
        file.norm(block + "attn_q_norm", 16)
        file.norm(block + "attn_k_norm", 16)
        file.matrix(block + "attn_output.weight", 16 * n_heads, WIDTH)
        file.norm(block + "ffn_norm", WIDTH)
        file.matrix(block + "ffn_gate.weight", WIDTH, ffn, 1.5)
        file.matrix(block + "ffn_up.weight", WIDTH, ffn, 1.5)
        file.matrix(block + "ffn_down.weight", ffn, WIDTH)
    file.norm("output_norm", WIDTH)


CASES = {"openelm": Case("openelm", _openelm)}
