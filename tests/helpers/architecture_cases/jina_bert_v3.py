"""Jina's embeddings 3."""

from tiny_file import Case, TinyFile

from .bert import fill_bert


def _jina_bert_v3(file: TinyFile) -> None:
    file.writer.add_rope_freq_base(20000.0)
    fill_bert(file, merged=True)


CASES = {"jina-bert-v3": Case("jina-bert-v3", _jina_bert_v3, is_encoder=True)}
