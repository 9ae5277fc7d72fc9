"""CogVLM, the text part."""

from gguf_vocabularies import add_byte_level_vocabulary
from tiny_file import FFN, VOCAB, WIDTH, Case, TinyFile


def _cogvlm(file: TinyFile) -> None:
    file.sizes(3, 4, 4, 16)
    add_byte_level_vocabulary(file.writer, VOCAB, "llama-bpe")
    file.embedding()
    for block in file.blocks():
        file.norm(block + "attn_norm", WIDTH)
        file.attention(block, merged=True)
        file.matrix(block + "vis_attn_qkv.weight", WIDTH, 3 * WIDTH)
        file.matrix(block + "vis_attn_output.weight", WIDTH, WIDTH)
        file.norm(block + "ffn_norm", WIDTH)
        file.gated_feed_forward(block)
        file.matrix(block + "vis_gate.weight", WIDTH, FFN)
        file.matrix(block + "vis_up.weight", WIDTH, FFN)
        file.matrix(block + "vis_down.weight", FFN, WIDTH)
    file.norm("output_norm", WIDTH)


CASES = {"cogvlm": Case("cogvlm", _cogvlm)}
