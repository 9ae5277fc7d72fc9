"""Llama as an encoder."""

from tiny_file import Case, TinyFile, llama_case


def _llama_embed(file: TinyFile) -> None:
    file.writer.add_causal_attention(False)
    llama_case(3, 4, 2, 16, tied=True)(file)


CASES = {"llama-embed": Case("llama-embed", _llama_embed, is_encoder=True)}
