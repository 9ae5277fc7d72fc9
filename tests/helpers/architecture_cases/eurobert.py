"""EuroBERT."""

from tiny_file import Case, TinyFile, llama_case


def _eurobert(file: TinyFile) -> None:
    file.writer.add_causal_attention(False)
    llama_case(3, 4, 2, 16, tied=True)(file)


CASES = {"eurobert": Case("eurobert", _eurobert, is_encoder=True)}
