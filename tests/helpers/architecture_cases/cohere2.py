"""Command R7B."""

from tiny_file import Case, TinyFile

from .command_r import fill_command_r


def _cohere2(file: TinyFile) -> None:
    fill_command_r(file, windows=True)


CASES = {"cohere2": Case("cohere2", _cohere2)}
