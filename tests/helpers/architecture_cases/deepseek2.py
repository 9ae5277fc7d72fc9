"""DeepSeek 2 with the matrices of keys and values, and DeepSeek 3 with those of queries."""

from gguf import ExpertGatingFuncType, RopeScalingType
from gguf_vocabularies import add_byte_level_vocabulary
from tiny_file import VOCAB, WIDTH, Case, TinyFile

ROTATED, PLAIN, VALUE, RANK, Q_RANK = 8, 32, 16, 32, 64


def latent_attention(
    file: TinyFile, block: str, *, q_rank: int = 0, absorbed: bool = False
) -> None:
    """The tensors of latent attention, after `latent_sizes`."""
    n_heads, n_queries = file.n_heads, file.n_heads * (PLAIN + ROTATED)
    if q_rank:
        file.matrix(block + "attn_q_a.weight", WIDTH, q_rank)
        file.norm(block + "attn_q_a_norm", q_rank)
        file.matrix(block + "attn_q_b.weight", q_rank, n_queries, 1.5)
    else:
        file.matrix(block + "attn_q.weight", WIDTH, n_queries, 1.5)
    file.matrix(block + "attn_kv_a_mqa.weight", WIDTH, RANK + ROTATED, 1.5)
    file.norm(block + "attn_kv_a_norm", RANK)
    if absorbed:
        file.matrix(block + "attn_k_b.weight", PLAIN, RANK, 1.0, n_experts=n_heads)
        file.matrix(block + "attn_v_b.weight", RANK, VALUE, 1.5, n_experts=n_heads)
    else:
        file.matrix(block + "attn_kv_b.weight", RANK, n_heads * (PLAIN + VALUE), 1.5)
    file.matrix(block + "attn_output.weight", n_heads * VALUE, WIDTH)


def latent_sizes(file: TinyFile, n_layers: int, *, q_rank: int = 0, absorbed: bool = False) -> None:
    """The sizes of a model with latent attention."""
    if absorbed:
        file.sizes(n_layers, 4, 1, RANK + ROTATED, rope_dim=ROTATED, value_dim=RANK)
        file.writer.add_key_length_mla(PLAIN + ROTATED)
        file.writer.add_value_length_mla(VALUE)
    else:
        file.sizes(n_layers, 4, 4, PLAIN + ROTATED, rope_dim=ROTATED, value_dim=VALUE)
    file.writer.add_q_lora_rank(q_rank)
    file.writer.add_kv_lora_rank(RANK)


def fill_deepseek2(file: TinyFile, *, q_rank: int = Q_RANK, absorbed: bool = True) -> None:
    """DeepSeek 2's tensors, or DeepSeek 3's."""
    latent_sizes(file, 3, q_rank=q_rank, absorbed=absorbed)
    file.expert_sizes(8, 3, 64, n_shared=1)
    file.writer.add_leading_dense_block_count(1)
    file.writer.add_expert_weights_scale(1.5)
    if absorbed:
        file.writer.add_expert_gating_func(ExpertGatingFuncType.SIGMOID)
        file.writer.add_expert_weights_norm(True)
        file.writer.add_expert_group_count(4)
        file.writer.add_expert_group_used_count(2)
    add_byte_level_vocabulary(file.writer, VOCAB, "deepseek-v3")
    file.embedding()
    for block in file.blocks():
        file.norm(block + "attn_norm", WIDTH)
        latent_attention(file, block, q_rank=q_rank, absorbed=absorbed)
        file.norm(block + "ffn_norm", WIDTH)
        if block == "blk.0.":
            file.gated_feed_forward(block)
        else:
            file.experts(block, selection_bias=absorbed)
    file.norm("output_norm", WIDTH)


def add_yarn(file: TinyFile, multiplier: float) -> None:
    file.writer.add_rope_scaling_type(RopeScalingType.YARN)
    file.writer.add_rope_scaling_factor(8.0)
    file.writer.add_rope_scaling_orig_ctx_len(64)
    file.writer.add_rope_scaling_yarn_log_mul(multiplier)


def _deepseek2(file: TinyFile) -> None:
    add_yarn(file, 0.0707)
    fill_deepseek2(file, q_rank=0, absorbed=False)


def _deepseek3(file: TinyFile) -> None:
    add_yarn(file, 0.1)
    fill_deepseek2(file)


CASES = {
    "deepseek2": Case("deepseek2", _deepseek2, has_experts=True),
    "deepseek3": Case("deepseek2", _deepseek3, has_experts=True),
}
