"""StarCoder."""

from tiny_file import Case, TinyFile

from .gpt2 import fill_gpt2


def _starcoder(file: TinyFile) -> None:
    fill_gpt2(file, n_kv_heads=1)


CASES = {"starcoder": Case("starcoder", _starcoder, family="starcoder, starcoder2")}
