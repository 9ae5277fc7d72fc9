"""Operations on rows of several vectors in NumPy: see plan/operations/streams.py."""

from __future__ import annotations

import numpy as np

from ...plan.operations.streams import KeepLargest, MatchLength, MixStreams, PutColumns
from .forward_pass import Array, ForwardPass, computes


@computes(PutColumns)
def _put_columns(op: PutColumns, run: ForwardPass) -> Array:
    src, is_first = run[op.src], op.column == 0 and not op.add
    width = run.plan.buffers[op.dst].width
    dst = np.zeros((len(src), width), np.float32) if is_first else run[op.dst]
    return put_columns(src, dst, op.column, add=op.add)


def put_columns(src: Array, dst: Array, column: int, *, add: bool) -> Array:
    """Return `dst`, float32 [rows, width], with `src` in it or added to it."""
    result = dst.copy()
    places = result[:, column : column + src.shape[1]]
    places[:] = places + src if add else src
    return result


@computes(MixStreams)
def _mix_streams(op: MixStreams, run: ForwardPass) -> Array:
    return mixed_streams(run[op.base], run[op.src], run[op.coefficients], op.width, op.offset)


def mixed_streams(base: Array, src: Array, coefficients: Array, width: int, offset: float) -> Array:
    """See `MixStreams`: float32 [rows, streams * width]."""
    rows = len(base)
    streams, inputs = base.reshape(rows, -1, width), src.reshape(rows, -1, width)
    factors = coefficients.reshape(rows, streams.shape[1], -1) + np.float32(offset)
    mixed: Array = (streams + factors @ inputs).astype(np.float32)
    return mixed.reshape(base.shape)


@computes(MatchLength)
def _match_length(op: MatchLength, run: ForwardPass) -> Array:
    return matched_length(run[op.src], run[op.reference])


def matched_length(src: Array, reference: Array) -> Array:
    """See `MatchLength`: float32 [rows, width]."""
    lengths = [np.sqrt(np.sum(x * x, axis=-1, keepdims=True)) for x in (reference, src)]
    matched: Array = src * lengths[0] / lengths[1]
    return matched


@computes(KeepLargest)
def _keep_largest(op: KeepLargest, run: ForwardPass) -> Array:
    return kept_largest(run[op.src], op.n_deviations)


def kept_largest(src: Array, n_deviations: float) -> Array:
    """See `KeepLargest`: float32 [rows, width]."""
    mean = src.mean(axis=-1, keepdims=True)
    deviation = src.std(axis=-1, ddof=1, keepdims=True)
    kept: Array = np.maximum(src - (mean + np.float32(n_deviations) * deviation), np.float32(0))
    return kept
