"""From a GGUF file to a model that can run: its plan, its tokenizer, and an executor."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..architectures import build_model
from ..backends import create_executor, create_logits_ops, create_string_kernels, paged_executor
from ..errors import ModelFormatError, OutOfMemoryError, TokenizerError
from ..gguf.fingerprint import sample
from ..gguf.reader import map_file
from ..gguf.shards import open_parts, part_paths, read_parts
from ..tokenizer import load_gguf_vocabulary, load_tokenizer_json
from .model import LoadedModel

if TYPE_CHECKING:
    import mmap
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from ..backends.api import Executor
    from ..backends.kernels.paging import LayerPager
    from ..backends.logits import LogitsOps
    from ..backends.offload import OffloadPolicy
    from ..config import EngineConfig
    from ..gguf.reader import GGUFFile
    from ..plan.operations import Plan
    from ..tokenizer import Tokenizer

    ModelBytes = bytes | bytearray | memoryview | mmap.mmap

_TOKENIZER_IN_GGUF = "tokenizer.huggingface.json"


def load_model(
    data: ModelBytes,
    starts: Sequence[int],
    tokenizer_json: str | bytes | None,
    folder: Path | None,
    config: EngineConfig,
    *,
    consume: bool,
    pager: LayerPager | None = None,
    path: Path | None = None,
) -> LoadedModel:
    """Reads a model from the bytes of its file, or of its files, which lie behind one another.

    Args:
        starts: where each file begins.
        tokenizer_json: a tokenizer to use instead of the file's own.
        folder: where a tokenizer.json may lie if neither is there.
        consume: the data may be kept and overwritten.
        pager: holds weights in memory by its policy, and reads the others again and again.
        path: where to read them from, instead of the data.

    Raises:
        ModelFormatError, UnsupportedModelError, TokenizerError: what the file holds is wrong.
        OutOfMemoryError: it does not fit into memory, or a pager's budget is too small.
        OSError: the file cannot be read.
    """
    gguf = open_parts(data, starts, create_string_kernels())
    samples: list[bytes] = []

    def read(offset: int, n_bytes: int) -> memoryview:
        return gguf.buffer[offset : offset + n_bytes]

    def whole_executor(plan: Plan) -> Executor:
        # of the file's bytes: packing moves them
        samples.extend(sample(info, read) for info in plan.weights.values())
        return create_executor(plan, gguf, config, consume=consume)

    if pager is None:
        return load_with_executor(
            gguf,
            tokenizer_json,
            folder,
            config,
            whole_executor,
            create_logits_ops(config),
            lambda: samples,
        )
    from ..backends.kernels.paging import BytesSource, FileSource

    source = BytesSource(gguf.buffer) if path is None else FileSource(path)
    model = load_with_executor(
        gguf,
        tokenizer_json,
        folder,
        config,
        lambda plan: paged_executor(plan, gguf, config, source, pager),
        create_logits_ops(config),
        lambda: [sample(info, read) for info in model.plan.weights.values()],
    )
    model.pager = pager
    model.with_pager = lambda other: paged_executor(model.plan, gguf, config, source, other)
    return model


def load_with_executor(
    gguf: GGUFFile,
    tokenizer_json: str | bytes | None,
    folder: Path | None,
    config: EngineConfig,
    make_executor: Callable[[Plan], Executor],
    logits_ops: LogitsOps,
    weight_samples: Callable[[], Sequence[bytes]],
) -> LoadedModel:
    """As `load_model`, with an executor of the caller's, which need not have its weights yet.

    Args:
        weight_samples: as in `LoadedModel`; is called when a conversation is saved or restored.
    """
    model_config, plan = build_model(gguf, config.context_size)
    tokenizer = _load_tokenizer(gguf, tokenizer_json, folder)
    if tokenizer.n_vocab > model_config.vocab_size:
        raise ModelFormatError(
            f"the tokenizer knows {tokenizer.n_vocab} tokens and the model only "
            f"{model_config.vocab_size}; they do not belong together"
        )
    return LoadedModel(
        config=model_config,
        plan=plan,
        tensors=gguf.tensors,
        tokenizer=tokenizer,
        executor=make_executor(plan),
        logits_ops=logits_ops,
        chat_template=gguf.get_str("tokenizer.chat_template", ""),
        pooling_type=gguf.get_int(f"{model_config.architecture}.pooling_type", 0),
        weight_samples=weight_samples,
    )


def open_model(path: Path, policy: OffloadPolicy) -> tuple[bytearray | mmap.mmap, list[int]]:
    """A model's bytes, which the engine may overwrite, and where each of its files begins in them.

    Raises:
        ModelFormatError: the path is not that of the first of several files.
        OSError: a file cannot be read.
        OutOfMemoryError: it cannot be mapped.
    """
    import mmap

    paths = part_paths(path)
    if len(paths) > 1 or policy.kind == "none":
        return read_parts(paths)
    with path.open("rb") as file:
        try:
            # copy on write: interleaving the weights never reaches the file
            access = mmap.ACCESS_READ if policy.has_budget else mmap.ACCESS_COPY
            return map_file(file, access), [0]
        except OSError as error:
            raise OutOfMemoryError(f"cannot map {path} into memory: {error}") from error


def _load_tokenizer(
    gguf: GGUFFile, tokenizer_json: str | bytes | None, folder: Path | None
) -> Tokenizer:
    if tokenizer_json is None and _TOKENIZER_IN_GGUF in gguf.metadata:
        tokenizer_json = gguf.get_str(_TOKENIZER_IN_GGUF)
    if tokenizer_json is None and "tokenizer.ggml.model" in gguf.metadata:
        return load_gguf_vocabulary(gguf.metadata)
    if tokenizer_json is None and folder is not None and (folder / "tokenizer.json").is_file():
        tokenizer_json = (folder / "tokenizer.json").read_bytes()
    if tokenizer_json is not None:
        bos, eos = (
            _optional_id(gguf, f"tokenizer.ggml.{name}_token_id") for name in ("bos", "eos")
        )
        return load_tokenizer_json(tokenizer_json, bos, eos, use_library=True)
    raise TokenizerError("the model file holds no vocabulary; give a tokenizer.json with the model")


def _optional_id(gguf: GGUFFile, key: str) -> int | None:
    return gguf.get_int(key) if key in gguf.metadata else None
