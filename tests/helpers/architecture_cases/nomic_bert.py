"""Nomic's BERT."""

from gguf_files import write_tiny_bert
from tiny_file import OtherCase

CASES = {"nomic-bert": OtherCase("nomic-bert", write_tiny_bert, {"arch": "nomic-bert"})}
