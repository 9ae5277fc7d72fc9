"""The Python mirror of kernels_c/ox.h."""

from __future__ import annotations

import ctypes
import re
from pathlib import Path

from oxillama_web.executors import abi
from oxillama_web.executors.library import load_library

HEADER = (Path(__file__).parent.parent / "kernels_c" / "ox.h").read_text()


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
    assert f"#define OX_PANEL_ROWS {abi.PANEL_ROWS}" in HEADER
    for name, value in re.findall(r"OX_(\w+) = (\d+),", HEADER):
        if hasattr(abi, name):
            assert getattr(abi, name) == int(value)
    kinds = re.search(r"enum ox_kind \{(.*?)OX_KIND_END", HEADER, re.S)
    assert kinds is not None
    assert all(hasattr(abi, name) for name in re.findall(r"OX_(\w+) = ", kinds.group(1)))
