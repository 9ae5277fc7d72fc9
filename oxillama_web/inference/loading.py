"""From a GGUF file to a model that can run: its plan, its tokenizer, and an executor."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..architectures import build_model
from ..backends.backend import local_backend
from ..errors import ModelFormatError, OutOfMemoryError, TokenizerError
from ..gguf.files import require_file
from ..gguf.fingerprint import WeightSamples
from ..gguf.reader import map_file
from ..gguf.shards import part_paths, read_parts
from ..gguf.source import FileSource, MemorySource
from ..tokenizer import load_gguf_vocabulary, load_tokenizer_json
from .model import LoadedModel

if TYPE_CHECKING:
    from pathlib import Path

    from ..backends.backend import Backend
    from ..backends.offload import LayerPager, OffloadPolicy
    from ..config import EngineConfig
    from ..gguf.reader import GGUFFile
    from ..gguf.source import ModelSource
    from ..tokenizer import Tokenizer

_TOKENIZER_IN_GGUF = "tokenizer.huggingface.json"


def load_model(
    source: ModelSource,
    config: EngineConfig,
    tokenizer_json: str | bytes | None = None,
    *,
    pager: LayerPager | None = None,
    backend: Backend | None = None,
) -> LoadedModel:
    """Load a model.

    Args:
        source: where it is. If it is still on its way, the model's weights come later
            (`LoadedModel.receive`).
        tokenizer_json: a tokenizer to use instead of the file's own.
        pager: holds weights in memory by its policy, and reads the others again and again.
        backend: runs the model; None is what `config` asks for in this process.

    Raises:
        ModelFormatError, UnsupportedModelError, TokenizerError: what the file holds is wrong.
        KernelError: kernels were asked for and cannot be loaded.
        OutOfMemoryError: the model does not fit into memory, or a pager's budget is too small.
        NotHereYetError, OSError: the model cannot be read.
    """
    backend = backend or local_backend(config)
    gguf = source.open(backend.string_kernels)
    model_config, plan = build_model(gguf, config.context_size)
    tokenizer = _load_tokenizer(gguf, tokenizer_json, source.folder)
    if tokenizer.n_vocab > model_config.vocab_size:
        raise ModelFormatError(
            f"the tokenizer knows {tokenizer.n_vocab} tokens and the model only "
            f"{model_config.vocab_size}; they do not belong together"
        )
    samples = WeightSamples(plan.weights, source)
    if pager is None:
        samples.take(source.n_received)  # before packing changes them
    return LoadedModel(
        config=model_config,
        plan=plan,
        tensors=gguf.tensors,
        tokenizer=tokenizer,
        executor=backend.create_executor(plan, source, config.kv_cache_type, pager),
        logits_ops=backend.logits_ops,
        chat_template=gguf.get_str("tokenizer.chat_template", ""),
        rerank_template=gguf.get_str("tokenizer.chat_template.rerank", ""),
        pooling_type=gguf.get_int(f"{model_config.architecture}.pooling_type", 0),
        samples=samples,
        pager=pager,
    )


def open_file(path: Path, policy: OffloadPolicy) -> ModelSource:
    """Open the file of a model, or the first of its files, as the policy says.

    Raises:
        ModelFormatError: it is empty, or not the first of several files.
        OSError: a file cannot be read.
        OutOfMemoryError: it cannot be mapped.
    """
    import mmap

    paths = [require_file(part) for part in part_paths(path)]
    if len(paths) > 1 or policy.kind == "none":
        data, starts = read_parts(paths)
        return MemorySource(data, starts, consume=True, folder=path.parent)
    if policy.has_budget:
        return FileSource(path)
    with path.open("rb") as file:
        try:
            # copy on write: packing the weights never reaches the file
            mapped = map_file(file, mmap.ACCESS_COPY)
        except OSError as error:
            raise OutOfMemoryError(f"cannot map {path} into memory: {error}") from error
    return MemorySource(mapped, consume=True, folder=path.parent)


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
    raise TokenizerError(
        f"there is no tokenizer: no tokenizer.json was given (EngineConfig.tokenizer_path, or "
        f"tokenizer_json), the model file holds no {_TOKENIZER_IN_GGUF!r} and no vocabulary "
        f"(tokenizer.ggml.model), and no tokenizer.json is beside it"
    )


def _optional_id(gguf: GGUFFile, key: str) -> int | None:
    return gguf.get_int(key) if key in gguf.metadata else None
