"""oxillama_web/browser/memory_snapshot.py on CPython."""

from __future__ import annotations

import importlib
import os
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest
from gguf_files import write_tiny_llama
from paths import HELPERS

from oxillama_web.browser import memory_snapshot


def test_a_resumed_snapshot_has_its_files_and_finds_modules_among_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    package = ModuleType("resumed_package")
    package.__path__ = [str(tmp_path / "resumed_package")]
    source, kernels = tmp_path / "resumed_package/late.py", tmp_path / "resumed_package/kernels.so"
    files = {str(source): b"answer = 42\n", str(kernels): b"code"}
    monkeypatch.setattr(memory_snapshot, "_files", files)
    monkeypatch.setitem(sys.modules, "resumed_package", package)
    with pytest.raises(ModuleNotFoundError):
        importlib.import_module("resumed_package.late")
    memory_snapshot.resume()
    assert kernels.read_bytes() == b"code"
    assert source.read_bytes() == b"answer = 42\n"
    try:
        assert importlib.import_module("resumed_package.late").answer == 42
    finally:
        sys.modules.pop("resumed_package.late", None)
    assert files == {}
    with pytest.raises(ModuleNotFoundError):
        importlib.import_module("resumed_package.later")


AFTER_THE_SNAPSHOT = """
import os, sys
os.walk = lambda folder: ()
from oxillama_web.browser import memory_snapshot
memory_snapshot.prepare()
before = set(sys.modules)
from native_pool import Download, NativePool
from oxillama_web.browser.worker import WorkerEngine
engine, pool, data = WorkerEngine(), NativePool(), open(sys.argv[1], "rb").read()
download = Download(pool, data)
engine.call("begin", pool, None, "{}")
for end in (len(data) // 2, len(data)):
    download.go_on(end)
    engine.call("receive", download.address, end, len(data), "[0]")
engine.call("load")
messages, sampler = '[{"role": "user", "content": "hello"}]', '{"temperature": 0.5}'
engine.call("start_chat", messages, '{"max_tokens": 5, "sampler": ' + sampler + "}")
while engine.call("step") != "null":
    pass
print(sorted(name for name in set(sys.modules) - before if name.startswith("oxillama_web")))
"""


def test_all_that_a_first_answer_needs_is_in_the_memory_snapshot(tmp_path: Path) -> None:
    """Importing in a page is slow: it compiles the module's source."""
    template = "{% for m in messages %}<{{ m.role }}>{{ m.content }}{% endfor %}"
    write_tiny_llama(tmp_path / "model.gguf", chat_template=template)
    command = [sys.executable, "-c", AFTER_THE_SNAPSHOT, str(tmp_path / "model.gguf")]
    path = os.pathsep.join([str(HELPERS), *filter(None, [os.environ.get("PYTHONPATH")])])
    environment = os.environ | {"PYTHONPATH": path}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
