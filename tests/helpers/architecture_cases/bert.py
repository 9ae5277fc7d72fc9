"""BERT."""

from gguf_files import write_tiny_bert
from tiny_file import OtherCase

CASES = {"bert": OtherCase("bert", write_tiny_bert, {"arch": "bert"})}
