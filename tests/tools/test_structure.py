"""tools/check_structure.py: a tree that keeps its rules passes, and each that breaks one fails."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[2] / "tools"))
import check_structure
from check_structure import c_functions, check, python_functions

TREE = {
    "oxillama_web/__init__.py": "from .engine import Engine\n",
    "oxillama_web/engine.py": "from .plan import operations\nfrom .plan.operations import Add\n",
    "oxillama_web/plan/__init__.py": "",
    "oxillama_web/plan/operations.py": "import math\n\n\ndef add():\n    return math.pi\n",
    "kernels_c/ops/add.h": '#include "ox.h"\n',
    "kernels_c/ops/add.c": '#include "ops/add.h"\n\nint add(int a) {\n    return a;\n}\n',
    "kernels_c/ox.h": "#include <stdint.h>\n",
    "web/a.js": 'import { b } from "./b.js";\n',
    "web/b.js": '/** @import {A} from "./a.js" */\nexport const b = 1;\n',
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
    write(tree, "oxillama_web/plan/operations.py", text)
    assert list(check(tree)) == [
        "Python modules import each other: engine -> plan.operations -> engine"
    ]


def test_c_units_that_include_each_other(tree: Path) -> None:
    write(tree, "kernels_c/run/graph.c", '#include "run/graph.h"\n')
    write(tree, "kernels_c/run/graph.h", '#include "ops/add.h"\n')
    write(tree, "kernels_c/ops/add.c", '#  include "run/graph.h"\n')
    assert list(check(tree)) == ["C units include each other: ops/add -> run/graph -> ops/add"]


def test_javascript_modules_that_import_each_other(tree: Path) -> None:
    write(tree, "web/b.js", 'import {\n  a,\n} from "./a.js";\n')
    assert list(check(tree)) == [
        "JavaScript modules import each other: web/a.js -> web/b.js -> web/a.js"
    ]


def test_loose_modules(tree: Path) -> None:
    for index in range(7):
        write(tree, f"oxillama_web/m{index}.py", "")
    (message,) = check(tree)
    assert message.startswith("oxillama_web/ has 9 modules outside of folders, and 8 are the most")


def test_long_functions(tree: Path) -> None:
    python = "class A:\n    def f(self):\n" + "        pass\n" * 60
    write(tree, "oxillama_web/plan/operations.py", python)
    write(tree, "kernels_c/ops/add.c", "int add(int a) {\n" + "    a += 1;\n" * 59 + "}\n")
    assert list(check(tree)) == [
        "oxillama_web/plan/operations.py:2: f has 61 lines, and 60 are the most",
        "kernels_c/ops/add.c:1: add has 61 lines, and 60 are the most",
    ]
    write(tree, "oxillama_web/plan/operations.py", python.replace("        pass\n", "", 1))
    write(tree, "kernels_c/ops/add.c", TREE["kernels_c/ops/add.c"])
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
