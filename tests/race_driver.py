"""Runs tiny models of every family on three threads, for a library with ThreadSanitizer.

    python race_driver.py FOLDER [--without-barriers]

The library's name is in $OXILLAMA_KERNELS. With the option threads never wait for each other: what
ThreadSanitizer has to see.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from architecture_files import CASES, write_case
from gguf_files import write_tiny_bert, write_tiny_experts
from linear_driver import build

from oxillama_web.architectures import read_model
from oxillama_web.config import EngineConfig
from oxillama_web.executors import kernel_executor, lowering
from oxillama_web.executors import library as executors_library
from oxillama_web.gguf import GGUFFile


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--without-barriers", action="store_true")
    arguments = parser.parse_args()
    executors_library.KERNELS_FOLDER = build.SANITIZED
    if arguments.without_barriers:
        lowering.barriers = lambda plan: [0] * len(plan.ops)
    for case in CASES:
        write_case(path := arguments.folder / f"{case}.gguf", case, "Q8_0")
        run(path)
    write_tiny_experts(path := arguments.folder / "experts.gguf", format="Q8_0")
    run(path)
    write_tiny_bert(path := arguments.folder / "bert.gguf", format="Q8_0")
    run(path)


def run(path: Path) -> None:
    """Several tokens, then one at a time, then two sequences; one has more than one segment."""
    gguf = GGUFFile(path.read_bytes())
    _, plan = read_model(gguf)
    library = executors_library.load_library()
    executor = kernel_executor(plan, gguf, EngineConfig(num_threads=3), library, consume=False)
    cache, other = executor.new_cache(), executor.new_cache()
    for tokens in (list(range(20)), [5], [6], [7, 8]):
        executor.forward(cache, tokens, "last")
    executor.forward_batch([(cache, [9]), (other, list(range(8)))], "all")
    executor.close()


if __name__ == "__main__":
    main()
