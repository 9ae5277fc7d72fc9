"""A snapshot of Python's memory with this package imported, from which a page starts.

tools/make_snapshot.mjs makes it, and web/worker/runtime.js resumes it. It holds no file system, so
the packages' files are kept in memory.
"""

from __future__ import annotations

import importlib
import os
import sys

# What every page uses sooner or later.
PRELOADED_MODULES = (
    "traceback",
    "oxillama_web.architectures.gemma3",
    "oxillama_web.architectures.llama",
    "oxillama_web.architectures.qwen2",
    "oxillama_web.architectures.qwen3",
    "oxillama_web.backends.kernels.executor",
    "oxillama_web.backends.kernels.weights",
    "oxillama_web.browser.streaming_load",
    "oxillama_web.browser.worker",
)

_files: dict[str, bytes] = {}


def prepare() -> None:
    """Import what a page uses, and read the packages' files."""
    from ..chat.template import render_chat_template

    for name in PRELOADED_MODULES:
        importlib.import_module(name)
    # imports jinja2 and fills its caches, which takes a fifth of a second
    message = {"role": "user", "content": "Hello"}
    template = "{% for message in messages %}{{ message['content'] | trim }}{% endfor %}"
    render_chat_template(template, [message], bos_token="", eos_token="")
    folder = os.path.dirname(os.path.dirname(os.path.dirname(__file__)))
    for parent, _, names in os.walk(folder):
        for name in names:
            if not name.endswith(".pyc"):
                path = os.path.join(parent, name)
                with open(path, "rb") as file:
                    _files[path] = file.read()
    # the path of the script that makes the snapshot
    os.environ.pop("_", None)


def resume() -> None:
    """Restore what a memory snapshot lacks: files and randomness."""
    for folder in {os.path.dirname(path) for path in _files}:
        os.makedirs(folder, exist_ok=True)
        # Python's listing of this folder is older than its files. importlib.invalidate_caches()
        # would drop those of all folders and read the standard library's zip again: 130 ms.
        sys.path_importer_cache.pop(folder, None)
    for path, data in _files.items():
        # some hundred files: the objects behind open() would double the time
        file = os.open(path, os.O_WRONLY | os.O_CREAT)
        os.write(file, data)
        os.close(file)
    _files.clear()
    random = sys.modules.get("random")
    if random is not None:
        # every page would draw the same numbers
        random.seed()
