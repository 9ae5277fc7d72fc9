"""Which of a repository's GGUF files is the model that was asked for."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from ..errors import InvalidRequestError

# Best first, where the choice is open: about 4.5 bits lose little, and both more and fewer bits are
# a second choice. web/storage/hub.js has the same list.
QUANTIZATIONS = (
    "Q4_K_M Q4_K_S Q4_K_L Q4_K_XL Q4_K Q4_0 Q4_1 IQ4_NL IQ4_XS MXFP4 NVFP4 "
    "Q5_K_M Q5_K_S Q5_K_L Q5_K_XL Q5_0 Q5_1 Q6_K Q6_K_L Q6_K_XL Q8_0 Q8_K_XL "
    "Q3_K_L Q3_K_M Q3_K_XL Q3_K_S IQ3_M IQ3_S IQ3_XS IQ3_XXS "
    "Q2_K Q2_K_L Q2_K_S Q2_K_XL IQ2_M IQ2_S IQ2_XS IQ2_XXS TQ2_0 TQ1_0 IQ1_M IQ1_S BF16 F16 F32"
).split()

_LABEL = re.compile(
    r"(?:^|[-._/])((?:UD-)?(?:I?Q\d(?:_[A-Z0-9]+)*|TQ\d_0|MXFP4(?:_MOE)?|NVFP4|BF16|FP?16|FP?32))"
    r"(?=[-./]|$)",
    re.IGNORECASE,
)
_PART = re.compile(r"(.*)-(\d{5})-of-(\d{5})\.gguf", re.IGNORECASE)
# parts of a model that cannot run alone, and what quantizing it needed
_NO_MODEL = re.compile(r"mmproj|imatrix|[-_.]lora[-_.]|ggml-vocab", re.IGNORECASE)


class RepositoryFile(NamedTuple):
    """A file of a repository.

    Attributes:
        size: bytes.
        sha256: in hexadecimal; "" if the host does not state it.
    """

    path: str
    size: int
    sha256: str


@dataclass(frozen=True, slots=True)
class Candidate:
    """A model of a repository: a GGUF file, or all parts of one in their order."""

    quantization: str
    files: tuple[RepositoryFile, ...]

    @property
    def size(self) -> int:
        """Bytes of all files."""
        return sum(file.size for file in self.files)


def choose(
    files: Iterable[RepositoryFile], file: str = "", quantization: str = "", max_bytes: int = 0
) -> Candidate:
    """Return the model that was asked for.

    Where the choice is open, it is the first in the order of QUANTIZATIONS of those that fit; if
    none fits, the smallest.

    Args:
        files: all files of the repository.
        file: the path of one, which is then it.
        quantization: such as "Q4_K_M"; case does not matter, nor does a prefix "UD-".
        max_bytes: what fits; 0 is no limit.

    Raises:
        InvalidRequestError: there is no such file; the message lists those that there are.
    """
    found = candidates(files)
    if not found:
        raise InvalidRequestError("it holds no GGUF file; look for a repository with GGUF files")
    if file:
        for each in found:
            if each.files[0].path == file:
                return each
        raise InvalidRequestError(f"it holds no model {file!r}; it has {_listed(found)}")
    if quantization:
        wanted = quantization.upper()
        named = [c for c in found if c.quantization == wanted]
        named = named or [c for c in found if c.quantization.removeprefix("UD-") == wanted]
        if not named:
            raise InvalidRequestError(f"it holds no {quantization}; it has {_listed(found)}")
        return named[0]
    fitting = [each for each in found if not max_bytes or each.size <= max_bytes]
    return fitting[0] if fitting else min(found, key=lambda each: each.size)


def candidates(files: Iterable[RepositoryFile]) -> list[Candidate]:
    """Return the models of a repository, in the order of QUANTIZATIONS, without incomplete ones."""
    sets: dict[tuple[str, int], dict[int, RepositoryFile]] = {}
    for file in files:
        if not file.path.lower().endswith(".gguf") or _NO_MODEL.search(file.path):
            continue
        match = _PART.fullmatch(file.path)
        stem, number, count = match.groups() if match else (file.path[: -len(".gguf")], 1, 1)
        sets.setdefault((stem, int(count)), {})[int(number)] = file
    found = [
        Candidate(_label(stem), tuple(parts[number] for number in range(1, count + 1)))
        for (stem, count), parts in sets.items()
        if sorted(parts) == [*range(1, count + 1)]
    ]
    return sorted(found, key=lambda each: (_rank(each.quantization), each.files[0].path))


def _label(stem: str) -> str:
    """Return the quantization in a file's name or, if it has none, in its folder's."""
    labels = _LABEL.findall(stem.upper())
    return re.sub("^FP", "F", labels[-1]) if labels else ""


def _rank(quantization: str) -> tuple[int, int]:
    name = quantization.removeprefix("UD-").removesuffix("_MOE")
    known = QUANTIZATIONS.index(name) if name in QUANTIZATIONS else len(QUANTIZATIONS)
    return known, quantization.startswith("UD-")


def _listed(found: Sequence[Candidate]) -> str:
    names = (each.quantization or each.files[0].path for each in found)
    return ", ".join(dict.fromkeys(names))
