"""GPT-NeoX, with its layers' halves side by side and one after the other."""

from gguf_vocabularies import add_byte_level_vocabulary
from tiny_file import VOCAB, WIDTH, Case, TinyFile


def _gptneox(file: TinyFile, *, is_parallel: bool = True) -> None:
    file.sizes(3, 4, 4, 16, rope_dim=4, layer_norm=True)
    file.writer.add_parallel_residual(is_parallel)
    add_byte_level_vocabulary(file.writer, VOCAB, "gpt-2")
    file.embedding()
    for block in file.blocks():
        file.norm(block + "attn_norm", WIDTH, bias=True)
        file.attention(block, bias=True, output_bias=True, merged=True)
        file.norm(block + "ffn_norm", WIDTH, bias=True)
        file.feed_forward(block)
    file.norm("output_norm", WIDTH, bias=True)


def _gptneox_serial(file: TinyFile) -> None:
    _gptneox(file, is_parallel=False)


CASES = {
    "gptneox": Case("gptneox", _gptneox),
    "gptneox-serial": Case("gptneox", _gptneox_serial),
}
