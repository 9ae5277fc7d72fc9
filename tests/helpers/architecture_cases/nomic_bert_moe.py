"""Nomic's BERT with experts."""

from tiny_file import FFN, Case, TinyFile

from .bert import fill_bert


def _nomic_bert_moe(file: TinyFile) -> None:
    file.writer.add_rope_freq_base(1000.0)
    file.writer.add_moe_every_n_layers(2)
    file.expert_sizes(4, 2, FFN)
    fill_bert(file, n_layers=4, merged=True, expert_period=2)


CASES = {
    "nomic-bert-moe": Case("nomic-bert-moe", _nomic_bert_moe, is_encoder=True, has_experts=True)
}
