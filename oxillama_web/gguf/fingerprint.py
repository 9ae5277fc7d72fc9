"""A few bytes of every weight, which tell two models of one shape apart.

Training changes all of a matrix, so one place is enough; and in a page each read costs some 10 us.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from .reader import TensorInfo

_SAMPLE_BYTES = 256


def sample(tensor: TensorInfo, read: Callable[[int, int], bytes | memoryview]) -> bytes:
    """Bytes from the middle of a tensor's data, as they are in the file.

    Args:
        read: gives bytes of the file, by offset and count.
    """
    n_bytes = min(tensor.nbytes, _SAMPLE_BYTES)
    return bytes(read(tensor.offset + (tensor.nbytes - n_bytes) // 2, n_bytes))
