"""The tiny model of web/worker/warm_up.js: one layer of the llama family, whose weights are zeros.

tools/make_site.py writes it to the site as warm_up_model.bin.
"""

from __future__ import annotations

import math
import struct

WIDTH, FFN, HEADS = 32, 64, 2
# ROUND becomes another number in each round, so that the template is compiled again
TEMPLATE = """{% set round = 1ROUND %}{% for message in messages -%}
{% if message['role'] == 'user' and round >= 0 %}<|start|>{{ message['content'] | trim }}
{%- elif message.role != "tool" %}{{ ' ' ~ message.content[:20] | upper }}{% endif %}<|end|>
{%- endfor %}{% if add_generation_prompt %}<|start|>{% endif %}"""
MERGES = ["Ġ t", "h e", "Ġ q", "i c", "ic k", "o x", "d o", "Ġ do", "g s", "e r"]

# numbers of the GGUF specification: types of metadata, and formats of tensors
UINT32, FLOAT32, BOOL, STRING, ARRAY = 4, 6, 7, 8, 9
F32, Q8_0 = 0, 8
ALIGNMENT = 32


def warm_up_model() -> bytes:
    """Return the GGUF file."""
    # GPT-2's characters for the bytes of ASCII
    letters = [chr(byte if 33 <= byte < 127 else 256 + min(byte, 33)) for byte in range(128)]
    tokens = ["<|end|>", "<|start|>", *letters, *(merge.replace(" ", "") for merge in MERGES)]
    metadata = [
        _text("general.architecture", "llama"),
        _text("general.name", "warm-up"),
        *(_number("llama." + name, value) for name, value in {
            "block_count": 1, "context_length": 256, "embedding_length": WIDTH,
            "feed_forward_length": FFN, "attention.head_count": HEADS,
            "attention.head_count_kv": HEADS, "vocab_size": len(tokens),
        }.items()),
        _entry("llama.attention.layer_norm_rms_epsilon", FLOAT32, struct.pack("<f", 1e-5)),
        _text("tokenizer.ggml.model", "gpt2"),
        _text("tokenizer.ggml.pre", "smollm"),
        _texts("tokenizer.ggml.tokens", tokens),
        _texts("tokenizer.ggml.merges", MERGES),
        _number("tokenizer.ggml.bos_token_id", 1),
        _number("tokenizer.ggml.eos_token_id", 0),
        _entry("tokenizer.ggml.add_bos_token", BOOL, b"\0"),
        _text("tokenizer.chat_template", TEMPLATE),
    ]  # fmt: skip
    tensors = {
        "token_embd.weight": (WIDTH, len(tokens)),
        "blk.0.attn_norm.weight": (WIDTH,),
        **{f"blk.0.attn_{name}.weight": (WIDTH, WIDTH) for name in ("q", "k", "v", "output")},
        "blk.0.ffn_norm.weight": (WIDTH,),
        "blk.0.ffn_gate.weight": (WIDTH, FFN),
        "blk.0.ffn_up.weight": (WIDTH, FFN),
        "blk.0.ffn_down.weight": (FFN, WIDTH),
        "output_norm.weight": (WIDTH,),
    }
    records, n_bytes = b"", 0
    for name, shape in tensors.items():
        number = Q8_0 if len(shape) > 1 else F32
        layout = f"<I{len(shape)}QIQ"
        records += _string(name) + struct.pack(layout, len(shape), *shape, number, n_bytes)
        n_bytes += _aligned(math.prod(shape) * 34 // 32 if number == Q8_0 else 4 * shape[0])
    header = b"GGUF" + struct.pack("<IQQ", 3, len(tensors), len(metadata))
    header += b"".join(metadata) + records
    return header.ljust(_aligned(len(header)) + n_bytes, b"\0")


def _aligned(n_bytes: int) -> int:
    return -(-n_bytes // ALIGNMENT) * ALIGNMENT


def _text(key: str, value: str) -> bytes:
    return _entry(key, STRING, _string(value))


def _number(key: str, value: int) -> bytes:
    return _entry(key, UINT32, struct.pack("<I", value))


def _texts(key: str, values: list[str]) -> bytes:
    items = struct.pack("<IQ", STRING, len(values)) + b"".join(map(_string, values))
    return _entry(key, ARRAY, items)


def _entry(key: str, kind: int, value: bytes) -> bytes:
    return _string(key) + struct.pack("<I", kind) + value


def _string(text: str) -> bytes:
    raw = text.encode()
    return struct.pack("<Q", len(raw)) + raw
