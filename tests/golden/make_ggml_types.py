"""Makes golden/ggml_types.json: the tensor formats that llama.cpp knows.

    python tests/golden/make_ggml_types.py

Needs llama-cpp-python 0.3.36, whose library it asks: number to name, values and bytes of a block.
Formats that ggml has given up have no values.
"""

from __future__ import annotations

import ctypes
import json
from pathlib import Path

import llama_cpp

N_TYPES = 43  # GGML_TYPE_COUNT in ggml.h


def main() -> None:
    folder = Path(llama_cpp.__file__).parent / "lib"
    ggml = ctypes.CDLL(str(next(folder.glob("libggml-base.*"))))
    ggml.ggml_type_name.restype = ctypes.c_char_p
    ggml.ggml_blck_size.restype = ctypes.c_int64
    ggml.ggml_type_size.restype = ctypes.c_size_t
    types = {
        number: (
            ggml.ggml_type_name(number).decode(),
            ggml.ggml_blck_size(number),
            ggml.ggml_type_size(number),
        )
        for number in range(N_TYPES)
    }
    rows = ",\n".join(f'"{number}": {json.dumps(sizes)}' for number, sizes in types.items())
    (Path(__file__).parent / "ggml_types.json").write_text("{\n" + rows + "\n}\n")


if __name__ == "__main__":
    main()
