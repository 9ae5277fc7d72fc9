"""The Python mirror of kernels_c/ox.h."""

from __future__ import annotations

import ctypes
import hashlib
import importlib
import pkgutil
import re
import subprocess
from pathlib import Path
from typing import get_args

import pytest
from linear_driver import build
from paths import ROOT

from oxillama_web import KernelError
from oxillama_web.backends.kernels import abi, library
from oxillama_web.backends.kernels.library import load_library
from oxillama_web.backends.kernels.lowering import arguments
from oxillama_web.plan import operations as operations_package
from oxillama_web.plan.operations.elementwise import Activation
from oxillama_web.plan.operations.experts import ExpertWeighting
from oxillama_web.plan.operations.rope import RopeStyle
from oxillama_web.plan.plan import Operation, Role

HEADER = (ROOT / "kernels_c" / "ox.h").read_text()


def test_structs_have_the_sizes_that_c_gives_them() -> None:
    functions = load_library().functions
    sizes = [functions.ox_struct_size(index) for index in range(len(abi.STRUCTS))]
    assert sizes == [ctypes.sizeof(struct) for struct in abi.STRUCTS]


def test_struct_members_have_the_names_and_order_of_the_header() -> None:
    for struct in abi.STRUCTS:
        name = {"KVLayer": "kv_layer", "KeyRotation": "key_rotation"}.get(
            struct.__name__, struct.__name__.lower()
        )
        body = re.search(rf"typedef struct ox_{name} \{{(.*?)\}} ox_{name};", HEADER, re.S)
        assert body is not None
        code = re.sub(r"/\*.*?\*/", "", body.group(1), flags=re.S)
        members = re.findall(r"(\w+)(?:\[\d+\])?;", code)
        assert members == [field[0] for field in struct._fields_]


def test_numbers_are_those_of_the_header() -> None:
    assert f"#define OX_ABI_VERSION {abi.ABI_VERSION}" in HEADER
    module = (ROOT / "web" / "kernels" / "module.js").read_text()
    assert f"const ABI_VERSION = {abi.ABI_VERSION};" in module
    assert f"#define OX_PANEL_ROWS {abi.PANEL_ROWS}" in HEADER
    for name, value in re.findall(r"OX_(\w+) = (\d+),", HEADER):
        if hasattr(abi, name):
            assert getattr(abi, name) == int(value)


def test_operations_have_the_operands_that_c_gives_them() -> None:
    functions = load_library().functions
    modules = [
        importlib.import_module(f"{operations_package.__name__}.{module.name}")
        for module in pkgutil.iter_modules(operations_package.__path__)
    ]
    operations = {
        found.kind: found
        for module in modules
        for found in vars(module).values()
        if isinstance(found, type) and issubclass(found, Operation) and hasattr(found, "kind")
    }
    words = {kind: functions.ox_op_words(kind) for kind in range(max(operations) + 2)}
    assert {kind for kind, n in words.items() if n >= 0} == set(operations)
    sources = "".join(path.read_text() for path in (ROOT / "kernels_c" / "ops").glob("*.[ch]"))
    for kind, operation in operations.items():
        assert words[kind] == len(arguments(operation)), operation
        name = re.search(rf"X\( ?{kind}, (\w+),", sources)
        assert name is not None, operation
        body = re.search(
            rf"typedef struct {name[1]}_args \{{(.*?)\}} {name[1]}_args;", sources, re.S
        )
        assert body is not None, operation
        declared = re.sub(r"/\*.*?\*/", "", body[1], flags=re.S)
        members = [
            (kind, member)
            for kind, names in re.findall(r"(\w+) ([\w, ]+);", declared)
            for member in names.split(", ")
        ]
        assert members == [
            ("float" if operand.role is Role.FLOAT else "int32_t", operand.name)
            for operand in arguments(operation)
        ]


def test_choices_have_the_numbers_that_c_gives_them() -> None:
    """Of each enum in C: its names in order, and the operands that it stands for."""
    sources = "".join(path.read_text() for path in (ROOT / "kernels_c").rglob("*.[ch]"))
    for name, choices in (
        ("activation", get_args(Activation)),
        ("weighting", get_args(ExpertWeighting)),
        ("ox_rope_style", get_args(RopeStyle)),
    ):
        body = re.search(rf"enum {name} \{{(.*?)\}};", sources, re.S)
        assert body is not None
        members = re.findall(r"(\w+) = (\d+)", body[1])
        assert members == [
            (("OX_" if name.startswith("ox_") else "") + choice.upper(), str(number))
            for number, choice in enumerate(choices)
        ]


def test_another_interface_has_another_version() -> None:
    """Who changes what the header declares counts OX_ABI_VERSION up, and puts the digest here."""
    code = re.sub(r"/\*.*?\*/", "", HEADER, flags=re.S)
    digest = hashlib.sha256(" ".join(code.split()).encode()).hexdigest()
    assert digest[:16] == "b9e51e71f93ed833"


@pytest.mark.parametrize(
    ("source", "version"),
    [("unsigned ox_abi_version(void) { return 5; }", "5"), ("int ox_other;", "None")],
)
def test_a_library_of_another_version_is_refused_before_its_functions_are_looked_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, source: str, version: str
) -> None:
    (tmp_path / "old.c").write_text(source)
    path = tmp_path / f"libox-portable{build.library_suffix()}"
    command = [*build.find_compiler(), "-shared", "-fPIC", str(tmp_path / "old.c"), "-o", str(path)]
    subprocess.run(command, check=True)
    monkeypatch.setattr(library, "KERNELS_FOLDER", tmp_path)
    monkeypatch.delenv("OXILLAMA_KERNELS", raising=False)
    for variant in ("portable", None):
        with pytest.raises(KernelError, match=f"interface version {version}, .*make kernels"):
            load_library(variant)
