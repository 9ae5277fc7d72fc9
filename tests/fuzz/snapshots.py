"""Snapshots of conversations that lie: headers of wrong types and sizes, and damaged bytes.

The checksum is right in most cases, as it is in a file that somebody made on purpose. A snapshot is
either refused, and the conversation is as it was, or it is restored, and can go on.
"""

from __future__ import annotations

import json
import random
import tempfile
import zlib
from functools import cache
from pathlib import Path
from typing import NamedTuple

from architecture_files import write_case
from fuzzing import Fuzzer
from mutations import mutated

from oxillama_web import EngineConfig, InferenceEngine, SamplerConfig, SnapshotError
from oxillama_web.inference.snapshots import KVSnapshot

# one with keys and values, one with recurrent states too
MODELS = ("llama", "lfm2")
GREEDY = SamplerConfig.greedy()
NUMBERS = (0, 1, 15, 16, 255, 1 << 16, (1 << 31) - 1, 1 << 31, (1 << 32) - 1)


class Case(NamedTuple):
    """A kind of model, and a snapshot that is restored with it."""

    model: str
    file: bytes


def make(chance: random.Random) -> Case:
    """Return a file that is broken in some way."""
    model = chance.choice(MODELS)
    file = chance.choice(_files(model))
    end = 12 + int.from_bytes(file[8:12], "little")
    start, header, data = file[:8], json.loads(file[12:end]), file[end:-4]
    if chance.random() < 0.7:
        header = mutated(header, chance, chance.choice((1, 1, 2, 4)))
    text = json.dumps(header)
    if chance.random() < 0.1:
        text = _with_strange_text(text, chance)
    if chance.random() < 0.2:
        data = _damaged(data, chance)
    encoded = text.encode("utf-8", "surrogatepass")
    size = len(encoded) if chance.random() < 0.9 else chance.choice(NUMBERS)
    content = start + size.to_bytes(4, "little") + encoded + data
    if chance.random() < 0.1:
        content = _damaged(content, chance)
    checksum = zlib.crc32(content) if chance.random() < 0.95 else 0
    return Case(model, content + checksum.to_bytes(4, "little"))


def use(case: Case) -> None:
    """Restore a snapshot; if that works, go on from it, else check that nothing has changed."""
    engine = _engine(case.model)
    engine.reset()
    engine.generate([5, 6, 7], 2, sampler=GREEDY)
    before = engine.kv_snapshot()
    try:
        engine.kv_restore(KVSnapshot.from_bytes(case.file))
    except SnapshotError:
        assert engine.kv_snapshot() == before
        raise
    assert engine.kv_snapshot() is not None
    if engine.kv_cache_seq_len < engine.context_size - 4:
        engine.generate([5], 2, sampler=GREEDY)


@cache
def _engine(model: str) -> InferenceEngine:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.gguf"
        write_case(path, model, "Q8_0")
        config = EngineConfig(str(path), num_threads=1, context_size=64)
        engine = InferenceEngine(config)
        engine.load_model()
    engine.tokenizer.eog_ids = frozenset()
    return engine


@cache
def _files(model: str) -> list[bytes]:
    engine, files = _engine(model), []
    for n_tokens in (0, 3, 20):
        engine.reset()
        if n_tokens:
            engine.generate(list(range(4, 4 + n_tokens)), 3, sampler=GREEDY)
        snapshot = engine.kv_snapshot()
        assert snapshot is not None
        files.append(snapshot.to_bytes())
    return files


def _with_strange_text(text: str, chance: random.Random) -> str:
    strange = ("1e999", "NaN", "-Infinity", "9" * 5000, "[" * 50_000, '{"a":' * 50_000, '"', "\0")
    at = chance.randrange(len(text))
    return text[:at] + chance.choice(strange) + text[at + chance.randrange(3) :]


def _damaged(data: bytes, chance: random.Random) -> bytes:
    """Return bytes of which some are missing, twice there, or others."""
    if not data:
        return bytes(chance.choice((1, 64, 4096)))
    start = chance.randrange(len(data))
    end = min(len(data), start + chance.choice((1, 2, 4, 64, 5000)))
    part = data[start:end]
    return data[:start] + chance.choice((b"", part * 2, chance.randbytes(len(part)))) + data[end:]


FUZZER = Fuzzer(make, use, (SnapshotError,))
