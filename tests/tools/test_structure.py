"""tools/check_structure.py: a tree that keeps its rules passes, and each that breaks one fails."""

from __future__ import annotations

from pathlib import Path

import check_structure
import pytest
from check_structure import c_functions, check, python_functions

TREE = {
    "oxillama_web/__init__.py": "from .engine import Engine\n",
    "oxillama_web/engine.py": "from .plan import builder\nfrom .plan.builder import Plan\n",
    "oxillama_web/plan/builder.py": "import math\n\n\ndef add():\n    return math.pi\n",
    "oxillama_web/plan/operations/__init__.py": "",
    "oxillama_web/plan/operations/rope.py": "class _Rope(Operation):\n    pass\n\n\n"
    "class RopeTable(_Rope):\n    kind = 1\n",
    "oxillama_web/backends/numpy.py": "from ..plan.operations.rope import RopeTable\n",
    "oxillama_web/architectures/llama.py": 'ARCHITECTURE = "llama"\n',
    "oxillama_web/architectures/qwen2.py": 'from . import llama\nARCHITECTURE = "qwen2"\n',
    "oxillama_web/gguf/types.py": "class GGMLType(IntEnum):\n    F32 = 0\n    Q4_K = 12\n",
    "oxillama_web/gguf/dequantize.py": "from .types import GGMLType\nGGMLType.Q4_K\n",
    "oxillama_web/browser/worker.py": "def save_it(self):\n    pass\n",
    "kernels_c/ops/rope.h": '#include "ox.h"\n',
    "kernels_c/ops/rope.c": '#include "ops/rope.h"\nint ox_rope_table(int a) {\n    return a;\n}\n',
    "kernels_c/ops/ops.h": "#define OX_EACH(X) X(1, rope_table)\n",
    "kernels_c/quant/formats.h": "#define OX_EACH_FORMAT(X) X(Q4_K)\n",
    "kernels_c/quant/unpack.h": "int unpack_q4_k(int a);\n",
    "kernels_c/ox.h": "#include <stdint.h>\n",
    "web/oxillama.js": 'import { b } from "./protocol.js";\nclass A {\n  saveIt() {}\n}\n',
    "web/protocol.js": '/** @import {A} from "./oxillama.js" */\n'
    "export const METHODS = {\n  saveIt: [],\n};\n",
}


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """A tree that keeps all rules."""
    for name, text in TREE.items():
        write(tmp_path, name, text)
    return tmp_path


def write(tree: Path, name: str, text: str) -> None:
    path = tree / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def test_a_tree_that_keeps_the_rules(tree: Path) -> None:
    assert list(check(tree)) == []


@pytest.mark.parametrize(
    "text",
    [
        "from ..engine import Engine\n",
        "from .. import engine\n",
        "import oxillama_web.engine\n",
        "from oxillama_web.engine import Engine\n",
        "def f():\n    from ..engine import Engine\n",
        "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from ..engine import Engine\n",
    ],
)
def test_python_modules_that_import_each_other(tree: Path, text: str) -> None:
    write(tree, "oxillama_web/plan/builder.py", text)
    assert list(check(tree)) == [
        "Python modules import each other: engine -> plan.builder -> engine"
    ]


def test_folders_that_import_each_other(tree: Path) -> None:
    write(tree, "oxillama_web/plan/lora.py", "from ..backends.api import A\n")
    write(tree, "oxillama_web/backends/api.py", "")
    assert list(check(tree)) == [
        "folders of oxillama_web import each other: backends -> plan -> backends"
    ]


def test_c_units_that_include_each_other(tree: Path) -> None:
    write(tree, "kernels_c/run/graph.c", '#include "run/graph.h"\n')
    write(tree, "kernels_c/run/graph.h", '#include "ops/rope.h"\n')
    write(tree, "kernels_c/ops/rope.h", '#  include "run/graph.h"\n')
    assert list(check(tree)) == ["C units include each other: ops/rope -> run/graph -> ops/rope"]


def test_javascript_modules_that_import_each_other(tree: Path) -> None:
    write(tree, "web/client/a.js", 'import {\n  b,\n} from "../b.js";\n')
    write(tree, "web/b.js", 'import { a } from "./client/a.js";\n')
    assert list(check(tree)) == [
        "JavaScript modules import each other: web/b.js -> web/client/a.js -> web/b.js"
    ]


def test_loose_modules(tree: Path) -> None:
    for index in range(7):
        write(tree, f"oxillama_web/m{index}.py", "")
    (message,) = check(tree)
    assert message.startswith("oxillama_web/ has 9 modules outside of folders, and 8 are the most")


def test_long_functions(tree: Path) -> None:
    python = "class A:\n    def f(self):\n" + "        pass\n" * 60
    write(tree, "oxillama_web/plan/builder.py", python)
    write(tree, "kernels_c/ox.h", "int add(int a) {\n" + "    a += 1;\n" * 59 + "}\n")
    assert list(check(tree)) == [
        "oxillama_web/plan/builder.py:2: f has 61 lines, and 60 are the most",
        "kernels_c/ox.h:1: add has 61 lines, and 60 are the most",
    ]
    write(tree, "oxillama_web/plan/builder.py", python.replace("        pass\n", "", 1))
    write(tree, "kernels_c/ox.h", TREE["kernels_c/ox.h"])
    assert list(check(tree)) == []


@pytest.mark.parametrize("name", ["web/page/style.css", "tests/test_add.py", "kernels_c/book.h"])
def test_long_files(tree: Path, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    write(tree, name, "\n" * 501)
    assert list(check(tree)) == [f"{name} has 501 lines, and 500 are the most"]
    monkeypatch.setitem(check_structure.LONG_FILES, name, "a table")
    assert list(check(tree)) == []
    write(tree, name, "\n" * 500)
    assert list(check(tree)) == [f"{name} has 500 lines and need not be in LONG_FILES"]


def test_functions_of_c() -> None:
    source = """\
/* void no(void) { } */
typedef struct { int a; } pair;
static const int table[] = {1, 2};
#define BODY(name) \\
    int name(void) { \\
        return '{'; \\
    }
BODY(stamped)
static inline int
two(int a,
    int b) {
    if (a) {  // }
        return b;
    }
    return "}"[0];
}
enum kind { A, B };
"""
    assert list(c_functions(source)) == [("BODY", 4, 4), ("two", 9, 8)]


def test_functions_of_python() -> None:
    source = "@wrap\ndef a():\n    async def b():\n        pass\n    return b\n"
    assert sorted(python_functions(source)) == [("a", 2, 4), ("b", 3, 2)]


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("oxillama_web/engine.py", "from .plan.operations.rope import RopeTable\n", "RopeTable"),
        ("kernels_c/run/graph.c", "ox_check_rope_table(op);\n", "RopeTable"),
        ("oxillama_web/engine.py", "GGMLType.Q4_K\n", "format Q4_K"),
        ("kernels_c/quant/gemm.c", "OX_Q4_K\n", "format Q4_K"),
        ("web/worker/worker.js", 'if (type === "x") engine.saveIt();\n', "method saveIt"),
    ],
)
def test_what_many_files_name(tree: Path, name: str, text: str, message: str) -> None:
    write(tree, name, text)
    (found,) = check(tree)
    assert f"{message} is named in" in found and name in found
    write(tree, name, "")
    assert list(check(tree)) == []


def test_comments_and_strings_name_nothing(tree: Path) -> None:
    write(tree, "oxillama_web/engine.py", '"""RopeTable"""\nx = "Q4_K"  # RopeTable\n')
    write(tree, "kernels_c/run/graph.c", '/* ox_rope_table */ char *c = "q4_k"; // Q4_K\n')
    assert list(check(tree)) == []


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("oxillama_web/architectures/__init__.py", 'NAMES = {"llama": "llama"}\n'),
        ("oxillama_web/engine.py", "from .architectures import llama\n"),
    ],
)
def test_architectures_that_others_name(tree: Path, name: str, text: str) -> None:
    write(tree, name, text)
    (found,) = check(tree)
    assert "names the architecture llama" in found


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("oxillama_web/plan/operations/rope.py", "operation"),
        ("oxillama_web/gguf/types.py", "format"),
        ("web/protocol.js", "method"),
        ("oxillama_web/architectures/", "architecture"),
    ],
)
def test_a_count_of_nothing_is_told(tree: Path, name: str, kind: str) -> None:
    for path in [*(tree / name).glob("*"), *[tree / name][: not name.endswith("/")]]:
        path.unlink()
    assert list(check(tree)) == [f"no {kind} is found, so this check has to be adapted"]
