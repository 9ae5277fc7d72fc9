"""EmbeddingGemma."""

from tiny_file import Case, TinyFile

from .gemma2 import fill_gemma_with_post_norms


def _gemma_embedding(file: TinyFile) -> None:
    file.sizes(7, 4, 1, 32)
    file.writer.add_sliding_window(9)
    file.writer.add_rope_freq_base(1e6)
    file.writer.add_rope_freq_base_swa(2e4)
    fill_gemma_with_post_norms(file, qk_norm=True)


CASES = {"gemma-embedding": Case("gemma-embedding", _gemma_embedding, is_encoder=True)}
