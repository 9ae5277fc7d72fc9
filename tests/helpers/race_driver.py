"""Runs tiny models of every family on three threads, for a library with ThreadSanitizer.

    python race_driver.py FOLDER [--without-barriers]

The library's name is in $OXILLAMA_KERNELS. With the option threads never wait for each other: what
ThreadSanitizer has to see.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from architecture_files import CASES, write_case
from executors import kernel_executor
from gguf_files import write_tiny_bert, write_tiny_experts, write_tiny_llama
from linear_driver import build
from lora_files import changes, write_adapter

from oxillama_web.architectures import build_model
from oxillama_web.backends.kernels import library as executors_library
from oxillama_web.backends.kernels import lowering
from oxillama_web.gguf.reader import GGUFFile
from oxillama_web.plan.barriers import Barrier
from oxillama_web.plan.lora import AppliedLora, apply_loras


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--without-barriers", action="store_true")
    arguments = parser.parse_args()
    executors_library.KERNELS_FOLDER = build.SANITIZED
    if arguments.without_barriers:
        lowering.barriers = lambda plan, steps, replicated: [Barrier(False, False)] * len(steps)
    for case in CASES:
        write_case(path := arguments.folder / f"{case}.gguf", case, "Q8_0")
        run(path)
    for arch in ("llama", "qwen2moe"):
        write_tiny_experts(path := arguments.folder / f"experts-{arch}.gguf", arch=arch)
        run(path)
    write_tiny_bert(path := arguments.folder / "bert.gguf")
    run(path)
    write_tiny_llama(path := arguments.folder / "adapted.gguf")
    run(path, adapted=True)


def run(path: Path, *, adapted: bool = False) -> None:
    """Several tokens, then one at a time, then two sequences in one pass."""
    gguf = GGUFFile(path.read_bytes())
    config, plan = build_model(gguf)
    executor = kernel_executor(gguf, executors_library.load_library(), n_threads=3, plan=plan)
    if adapted:
        adapter = write_adapter(path.with_suffix(".lora"), changes(gguf, seed=1))
        executor.use_plan(*apply_loras(plan, config, gguf.tensors, [AppliedLora(adapter)]))
    cache, other = executor.new_cache(), executor.new_cache()
    for tokens in (list(range(20)), [5], [6], [7, 8]):
        executor.forward(cache, tokens, "last")
    executor.forward_batch([(cache, [9]), (other, list(range(8)))], "all")
    executor.close()


if __name__ == "__main__":
    main()
