"""Jina's BERT, as in base-en and in base-code."""

from functools import partial

from tiny_file import Case

from .bert import fill_bert

CASES = {
    "jina-bert-v2": Case("jina-bert-v2", partial(fill_bert, gate="own"), is_encoder=True),
    "jina-bert-v2-code": Case(
        "jina-bert-v2",
        partial(fill_bert, gate="merged", qk_norm=True, second_norm=True),
        family="jina-bert-v2, code",
        is_encoder=True,
    ),
}
