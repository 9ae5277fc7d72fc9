"""Model files that are broken: metadata, tensors and bytes of tiny files of several families.

Each is described, loaded for both executors, and runs once, in bounded memory.
"""

from __future__ import annotations

import random
import tempfile
import tracemalloc
from functools import cache
from pathlib import Path

from architecture_files import write_case
from fuzzing import Fuzzer
from gguf_records import TensorRecord, read_records, write_records
from mutations import mutated

from oxillama_web import EngineConfig, InferenceEngine
from oxillama_web.architectures import supported_architectures
from oxillama_web.errors import (
    ContextLengthError,
    ModelFormatError,
    TokenizerError,
    UnsupportedModelError,
)
from oxillama_web.gguf.describe import describe, describe_metadata, describe_tensors
from oxillama_web.gguf.reader import GGUFFile
from oxillama_web.gguf.types import FORMATS

# a file whose vocabulary is used by the scores of whole texts
UNIGRAM = " unigram"
BASES = (
    *("llama", "llama3", "llama-yarn", "phi3", "gemma3", "gpt2", "falcon", "cohere2", "mixtral"),
    *("qwen2moe", "bert", "nomic-bert", "mistral3", "lfm2", "gemma-embedding", "bitnet"),
    *("gemma" + UNIGRAM, "qwen35", "mamba2", "gpt-oss", "gemma4"),
)
TEXT = "The fox runs over 12 hills. <s> \u00e9\u4e2d"
# What Python's objects of one small model take, beside its weights.
MAX_OWN_BYTES = 24 << 20
_SIZES = (0, 1, 2, 3, 4, 5, 8, 16, 31, 32, 33, 48, 64, 96, 128, 256, 320, 1000, 1 << 31, 1 << 62)


def make(chance: random.Random) -> bytes:
    """Return a file of a family with one to three changes."""
    whole = _files(chance.choice(BASES))
    if chance.random() < 0.15:
        return _with_wrong_bytes(whole, chance)
    metadata, tensors = read_records(whole)
    for _ in range(chance.choice((1, 1, 2, 3))):
        if chance.random() < 0.65:
            metadata = mutated(metadata, chance, 1) or {}
        else:
            _change_tensors(tensors, chance)
    return write_records(metadata, tensors)


def use(data: bytes) -> None:
    """Describe, load, tokenize and run a file."""
    tracemalloc.start()
    try:
        gguf = GGUFFile(data)
        describe(gguf, supported_architectures())
        describe_metadata(gguf)
        describe_tensors(gguf)
        _run(data, "numpy")
        _run(data, "kernels")
    finally:
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
    # NumPy holds weights as float32, four times as large as most are here
    assert peak < MAX_OWN_BYTES + 12 * len(data), f"{peak} bytes for a file of {len(data)}"


def _run(data: bytes, executor: str) -> None:
    engine = InferenceEngine(EngineConfig(executor=executor, num_threads=1))
    try:
        engine.load_model_from_bytes(data)
        ids = (engine.tokenize(TEXT) or [0])[: min(engine.context_size, 40)]
        engine.tokenizer.decode(ids)
        if engine.is_encoder:
            engine.embed(TEXT[:20])
        else:
            engine.forward_prefill(ids, 0)
    finally:
        engine.close()


@cache
def _files(case: str) -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.gguf"
        write_case(path, case.removesuffix(UNIGRAM), "Q8_0")
        data = path.read_bytes()
    if not case.endswith(UNIGRAM):
        return data
    metadata, tensors = read_records(data)
    return write_records(metadata | {"tokenizer.ggml.model": "t5"}, tensors)


def _with_wrong_bytes(whole: bytes, chance: random.Random) -> bytes:
    data = bytearray(whole)
    for _ in range(chance.choice((1, 2, 8))):
        at = chance.randrange(chance.choice((200, 20_000, len(data))))
        data[at : at + 1] = bytes(chance.choices((0, 1, 127, 128, 255, chance.randrange(256))))
    return bytes(data[: chance.randrange(len(data))] if chance.random() < 0.3 else data)


def _change_tensors(tensors: list[TensorRecord], chance: random.Random) -> None:
    if not tensors:
        return
    index = chance.randrange(len(tensors))
    tensor, other = tensors[index], chance.choice(tensors)
    match chance.randrange(8):
        case 0:
            del tensors[index]
        case 1:
            tensors[index] = tensor._replace(
                name=chance.choice((other.name, "", tensor.name + "s"))
            )
        case 2:
            tensors[index] = tensor._replace(shape=other.shape)
        case 3:
            tensors[index] = tensor._replace(shape=tensor.shape[::-1])
        case 4:
            shape = list(tensor.shape) or [1]
            shape[chance.randrange(len(shape))] = chance.choice(_SIZES)
            tensors[index] = tensor._replace(shape=tuple(shape))
        case 5:
            shape = chance.choice(((), tensor.shape[:1], (*tensor.shape, chance.choice((1, 2)))))
            tensors[index] = tensor._replace(shape=shape)
        case 6:
            number = chance.choice((*FORMATS, other.format, 4, 31, 43, 1 << 31))
            tensors[index] = tensor._replace(format=number)
        case _:
            noise = chance.choice((b"\x00", b"\xff", b"\x7f", b"\x00\x7c", chance.randbytes(64)))
            tensors[index] = tensor._replace(data=noise * (len(tensor.data) // len(noise)))


# a file may state a context that is too short for the text
ERRORS = (ModelFormatError, UnsupportedModelError, TokenizerError, ContextLengthError)
FUZZER = Fuzzer(make, use, ERRORS)
