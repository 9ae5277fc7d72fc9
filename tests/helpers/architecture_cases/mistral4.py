"""Mistral 4: its queries grow every 16 positions."""

from tiny_file import Case, TinyFile

from .deepseek2 import add_yarn, fill_deepseek2


def _mistral4(file: TinyFile) -> None:
    add_yarn(file, 0.08)
    file.writer.add_attn_temperature_length(16)
    file.writer.add_attn_temperature_scale(0.1)
    fill_deepseek2(file)


CASES = {"mistral4": Case("mistral4", _mistral4, has_experts=True)}
