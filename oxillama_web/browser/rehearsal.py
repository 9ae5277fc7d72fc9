"""A start and an answer in small, which have a browser optimize what the next visit begins with.

Chromium keeps what it optimized of a WebAssembly module once that is 1 MB, and a short visit ends
below it (docs/benchmarks.md): the next one would begin with slow code again.
"""

from __future__ import annotations

import math
import struct
from typing import Any

from ..backends.kernels.wasm import WasmBlock
from ..gguf.types import FORMATS
from ..tokenizer.byte_level import text_to_byte_chars
from .worker import WorkerEngine

_WIDTH, _FFN, _HEADS = 32, 64, 2
_TEXT = "The quick brown fox jumps over 13 lazy dogs; what does it do then?"
_SPECIAL = ["<|end|>", "<|start|>"]
_TEMPLATE = """{% set round = ROUND %}{% for message in messages -%}
{% if message['role'] == 'user' and round >= 0 %}<|start|>{{ message['content'] | trim }}
{%- elif message.role != "tool" %}{{ ' ' ~ message.content[:20] | upper }}{% endif %}<|end|>
{%- endfor %}{% if add_generation_prompt %}<|start|>{% endif %}"""
_MERGES = ["Ġ t", "h e", "Ġ q", "i c", "ic k", "o x", "d o", "Ġ do", "g s", "e r"]
_OPTIONS = {"max_tokens": 6, "sampler": {"temperature": 0.8, "top_k": 20, "seed": 1}}
_ANSWERS = 2

# numbers of the GGUF specification: types of metadata, and formats of tensors
_UINT32, _FLOAT32, _BOOL, _STRING, _ARRAY = 4, 6, 7, 8, 9
_F32, _Q8_0 = 0, 8


def rehearse(pool: Any, round_number: int) -> None:
    """Load a tiny model into the memory of `pool`, the KernelPool of web/kernels/pool.js, and ask.

    Nothing of it remains, and a model that is there does not notice.

    Args:
        round_number: of another number each time, since chat templates are compiled once.
    """
    file = tiny_model(round_number)
    block = WasmBlock(pool, len(file))
    block.write(0, file)
    engine = WorkerEngine()
    engine.begin(pool, None, {})
    engine.receive(block.address, len(file), len(file))
    engine.load()
    for _ in range(_ANSWERS):
        engine.start_chat([{"role": "user", "content": _TEXT}], _OPTIONS)
        while engine.step() is not None:
            pass
        engine.reset()


def tiny_model(round_number: int = 0) -> bytes:
    """A GGUF file of the llama family: one layer, whose weights are zeros."""
    letters = [text_to_byte_chars(chr(code)) for code in range(128)]
    tokens = [*_SPECIAL, *letters, *(merge.replace(" ", "") for merge in _MERGES)]
    metadata = [
        _text("general.architecture", "llama"),
        _text("general.name", "rehearsal"),
        *(_number("llama." + name, value) for name, value in {
            "block_count": 1, "context_length": 256, "embedding_length": _WIDTH,
            "feed_forward_length": _FFN, "attention.head_count": _HEADS,
            "attention.head_count_kv": _HEADS, "vocab_size": len(tokens),
        }.items()),
        _entry("llama.attention.layer_norm_rms_epsilon", _FLOAT32, struct.pack("<f", 1e-5)),
        _text("tokenizer.ggml.model", "gpt2"),
        _text("tokenizer.ggml.pre", "smollm"),
        _texts("tokenizer.ggml.tokens", tokens),
        _texts("tokenizer.ggml.merges", _MERGES),
        _number("tokenizer.ggml.bos_token_id", 1),
        _number("tokenizer.ggml.eos_token_id", 0),
        _entry("tokenizer.ggml.add_bos_token", _BOOL, b"\0"),
        _text("tokenizer.chat_template", _TEMPLATE.replace("ROUND", str(round_number))),
    ]  # fmt: skip
    tensors = {
        "token_embd.weight": (_WIDTH, len(tokens)),
        "blk.0.attn_norm.weight": (_WIDTH,),
        **{f"blk.0.attn_{name}.weight": (_WIDTH, _WIDTH) for name in ("q", "k", "v", "output")},
        "blk.0.ffn_norm.weight": (_WIDTH,),
        "blk.0.ffn_gate.weight": (_WIDTH, _FFN),
        "blk.0.ffn_up.weight": (_WIDTH, _FFN),
        "blk.0.ffn_down.weight": (_FFN, _WIDTH),
        "output_norm.weight": (_WIDTH,),
    }
    records, n_bytes = b"", 0
    for name, shape in tensors.items():
        number = _Q8_0 if len(shape) > 1 else _F32
        layout = f"<I{len(shape)}QIQ"
        records += _string(name) + struct.pack(layout, len(shape), *shape, number, n_bytes)
        n_bytes += _aligned(_nbytes(shape, number))
    header = b"GGUF" + struct.pack("<IQQ", 3, len(tensors), len(metadata))
    header += b"".join(metadata) + records
    return header.ljust(_aligned(len(header)) + n_bytes, b"\0")


def _nbytes(shape: tuple[int, ...], number: int) -> int:
    return math.prod(shape) // FORMATS[number].block_size * FORMATS[number].block_bytes


def _aligned(n_bytes: int) -> int:
    return -(-n_bytes // 32) * 32


def _text(key: str, value: str) -> bytes:
    return _entry(key, _STRING, _string(value))


def _number(key: str, value: int) -> bytes:
    return _entry(key, _UINT32, struct.pack("<I", value))


def _texts(key: str, values: list[str]) -> bytes:
    items = struct.pack("<IQ", _STRING, len(values)) + b"".join(map(_string, values))
    return _entry(key, _ARRAY, items)


def _entry(key: str, kind: int, value: bytes) -> bytes:
    return _string(key) + struct.pack("<I", kind) + value


def _string(text: str) -> bytes:
    raw = text.encode()
    return struct.pack("<Q", len(raw)) + raw
