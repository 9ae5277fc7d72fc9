"""Command R and Command R+."""

from gguf_vocabularies import add_byte_level_vocabulary
from tiny_file import VOCAB, WIDTH, Case, TinyFile


def fill_command_r(
    file: TinyFile, *, n_layers: int = 5, windows: bool = False, qk_norm: bool = False
) -> None:
    file.sizes(n_layers, 4, 2, 16, layer_norm=True)
    file.writer.add_logit_scale(0.3)
    if windows:
        file.writer.add_sliding_window(8)
    add_byte_level_vocabulary(file.writer, VOCAB, "command-r")
    file.embedding(tied=True)
    for block in file.blocks():
        file.norm(block + "attn_norm", WIDTH)
        file.attention(block)
        if qk_norm:
            file.norm(block + "attn_q_norm", file.n_heads, file.head_dim)
            file.norm(block + "attn_k_norm", file.n_kv_heads, file.head_dim)
        file.gated_feed_forward(block)
    file.norm("output_norm", WIDTH)


def _command_r_plus(file: TinyFile) -> None:
    """llama.cpp looks for norms of heads in models of 64 layers and more."""
    fill_command_r(file, n_layers=64, qk_norm=True)


CASES = {
    "command-r": Case("command-r", fill_command_r),
    "command-r-plus": Case("command-r", _command_r_plus),
}
