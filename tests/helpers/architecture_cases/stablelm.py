"""StableLM."""

from gguf_vocabularies import add_byte_level_vocabulary
from tiny_file import VOCAB, WIDTH, Case, TinyFile


def _stablelm(file: TinyFile, *, parallel: bool = False) -> None:
    file.sizes(3, 4, 2, 16, rope_dim=4, layer_norm=True)
    add_byte_level_vocabulary(file.writer, VOCAB, "stablelm2")
    file.embedding()
    for block in file.blocks():
        file.norm(block + "attn_norm", WIDTH, bias=True)
        file.attention(block, bias=not parallel)
        if parallel:
            file.norm(block + "attn_q_norm", file.n_heads, file.head_dim)
            file.norm(block + "attn_k_norm", file.n_kv_heads, file.head_dim)
        else:
            file.norm(block + "ffn_norm", WIDTH, bias=True)
        file.gated_feed_forward(block)
    file.norm("output_norm", WIDTH, bias=True)


def _stablelm_12b(file: TinyFile) -> None:
    _stablelm(file, parallel=True)


CASES = {
    "stablelm": Case("stablelm", _stablelm),
    "stablelm-12b": Case("stablelm", _stablelm_12b),
}
