"""How the kernels are built: what an edit compiles again, and where the compiler comes from."""

from __future__ import annotations

from pathlib import Path

import pytest
from linear_driver import build
from paths import ROOT

import hatch_build

FILES = {
    "ops/a.c": '#include "b.h"\n',
    "ops/b.h": '#  include "ox.h"\n',
    "text/c.c": '#include "ox.h"\n#include <stdint.h>\n',
    "text/d.c": "int d;\n",
    "ox.h": "int x;\n",
}


@pytest.fixture
def compiled(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The files that were compiled since this was cleared; no compiler runs."""
    for name, text in FILES.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    names: list[str] = []

    def run(command: list[str]) -> None:
        if "-c" in command:
            names.append(Path(command[command.index("-c") + 1]).name)
        Path(command[-1]).write_text("made")

    monkeypatch.setattr(build, "_run", run)
    monkeypatch.setattr(build, "SOURCES", tmp_path)
    monkeypatch.setattr(build, "OBJECTS", tmp_path / "objects")
    monkeypatch.setattr(build, "find_compiler", lambda: ["cc"])
    return names


def test_an_edit_compiles_what_includes_the_file(compiled: list[str], tmp_path: Path) -> None:
    n_isas = len(build.NATIVE_ISAS[build.machine()])

    def compile_after(edited: str, text: str) -> set[str]:
        compiled.clear()
        (tmp_path / edited).write_text(text)
        libraries = build.build_native(tmp_path / "out")
        assert [path.is_file() for path in libraries] == [True] * n_isas
        assert all(compiled.count(name) == n_isas for name in compiled)
        return set(compiled)

    assert compile_after("ox.h", "int x;\n") == {"a.c", "c.c", "d.c"}
    assert compile_after("ox.h", "int x;\n") == set()
    assert compile_after("text/d.c", "int e;\n") == {"d.c"}
    assert compile_after("ops/b.h", '#include "ox.h"\nint b;\n') == {"a.c"}
    assert compile_after("ox.h", "int y;\n") == {"a.c", "c.c"}
    (tmp_path / "text/d.c").unlink()
    assert compile_after("ops/a.c", "int a;\n") == {"a.c"}


@pytest.mark.usefixtures("compiled")
def test_a_failure_leaves_the_earlier_library(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    [library, *_] = build.build_native(tmp_path / "out")

    def fail(command: list[str]) -> None:
        raise build.BuildError("no")

    monkeypatch.setattr(build, "_run", fail)
    (tmp_path / "text/d.c").write_text("int f;\n")
    with pytest.raises(build.BuildError):
        build.build_native(tmp_path / "out")
    assert library.read_text() == "made"
    assert list(tmp_path.rglob("*.tmp")) == []


@pytest.mark.parametrize(
    ("kernels", "compiler", "needed"),
    [("", "gcc", []), ("", None, [build.ZIG]), ("skip", None, [])],
)
def test_ziglang_is_required_only_without_a_compiler(
    kernels: str, compiler: str | None, needed: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OXILLAMA_KERNELS_BUILD", kernels)
    monkeypatch.setattr(hatch_build, "load_build_script", lambda root: build)
    monkeypatch.setattr(build, "installed_compiler", lambda: compiler and [compiler])
    hook = hatch_build.KernelBuildHook(str(ROOT), {}, None, None, "", "wheel")  # type: ignore[arg-type]
    assert hook.dependencies() == needed


def test_a_compiler_that_cannot_compile_is_passed_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    broken = tmp_path / "gcc"
    broken.write_text("#!/bin/sh\nexit 1\n")
    broken.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("CC", raising=False)
    build._compiles.cache_clear()
    assert build.installed_compiler() is None
    build._compiles.cache_clear()
