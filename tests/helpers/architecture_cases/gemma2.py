"""Gemma 2."""

import numpy as np
from gguf_vocabularies import add_sentencepiece_vocabulary
from tiny_file import VOCAB, WIDTH, Case, TinyFile


def fill_gemma_with_post_norms(file: TinyFile, *, qk_norm: bool) -> None:
    add_sentencepiece_vocabulary(file.writer, VOCAB)
    file.embedding(tied=True, scale=np.sqrt(WIDTH))
    for block in file.blocks():
        file.norm(block + "attn_norm", WIDTH)
        file.attention(block)
        if qk_norm:
            file.norm(block + "attn_q_norm", file.head_dim)
            file.norm(block + "attn_k_norm", file.head_dim)
        file.norm(block + "post_attention_norm", WIDTH)
        file.norm(block + "ffn_norm", WIDTH)
        file.gated_feed_forward(block)
        file.norm(block + "post_ffw_norm", WIDTH)
    file.norm("output_norm", WIDTH)


def _gemma2(file: TinyFile) -> None:
    file.sizes(4, 4, 2, 32)
    file.writer.add_sliding_window(8)
    file.writer.add_attn_logit_softcapping(2.0)
    file.writer.add_final_logit_softcapping(3.0)
    fill_gemma_with_post_norms(file, qk_norm=False)


CASES = {"gemma2": Case("gemma2", _gemma2)}
