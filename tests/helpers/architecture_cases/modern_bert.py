"""ModernBERT, with and without a window."""

from functools import partial

from gguf_vocabularies import add_byte_level_vocabulary
from tiny_file import VOCAB, WIDTH, Case, TinyFile


def fill_modern_bert(file: TinyFile, window: int = 8, activation: str = "") -> None:
    file.sizes(4, 4, 4, WIDTH // 4, layer_norm=True)
    file.writer.add_causal_attention(False)
    file.writer.add_rope_freq_base(160000.0)
    if window:
        file.writer.add_sliding_window(window)
        file.writer.add_rope_freq_base_swa(10000.0)
    if activation:
        file.writer.add_string("modern-bert.hidden_activation", activation)
    add_byte_level_vocabulary(file.writer, VOCAB, "llama-bpe")
    file.embedding(tied=True)
    file.norm("token_embd_norm", WIDTH)
    for layer, block in enumerate(file.blocks()):
        if layer:
            file.norm(block + "attn_norm", WIDTH)
        file.attention(block, merged=True)
        file.norm(block + "ffn_norm", WIDTH)
        file.gated_feed_forward(block, merged=True)
    file.norm("output_norm", WIDTH)


CASES = {
    "modern-bert": Case("modern-bert", fill_modern_bert, is_encoder=True),
    "modern-bert-silu": Case(
        "modern-bert",
        partial(fill_modern_bert, window=0, activation="silu"),
        family="modern-bert, SwiGLU",
        is_encoder=True,
    ),
}
