"""Layers that remember what came before in a state of fixed size, instead of keys and values.

The tokens of a sequence are computed one after the other, in a prompt too. What divides the work is
the width of a state: its channels or heads depend on nothing of each other, so each thread goes
through all tokens with a few of them, which stay in its registers and nearest cache. So a pass over
several tokens computes the same bits as a pass for each.
"""

from dataclasses import dataclass

from ...errors import ModelFormatError
from ..builder import PlanBuilder
from ..plan import Operation, OptionalVector, Read, State, Vector, Write

# A causal convolution in use has 3 or 4 taps; the kernels keep all of them in registers.
MAX_TAPS = 8


@dataclass(frozen=True, slots=True)
class CausalConv(Operation):
    """dst[t, c] = the sum over j of weight[c, j] * src[t - (taps - 1) + j, c] (+ bias[c]).

    A short convolution over time, each channel by itself. The state holds the last taps - 1 rows
    of src. With `silu`, x * sigmoid(x) of the result follows (Gu and Dao 2023,
    https://arxiv.org/abs/2312.00752).
    """

    kind = 24

    dst: Write
    src: Read
    weight: Vector
    bias: OptionalVector
    state: State
    silu: bool

    @classmethod
    def append(
        cls,
        plan: PlanBuilder,
        dst: str,
        src: str,
        weight: str,
        bias: str | None = None,
        *,
        silu: bool = False,
    ) -> None:
        """Convolve with a tensor [channels, taps], and add a bias where the file holds one."""
        taps, n_channels = plan.matrix(weight)
        width = plan.width(src)
        if n_channels != width or not 2 <= taps <= MAX_TAPS:
            raise ModelFormatError(
                f"tensor {weight!r} has shape {(taps, n_channels)}; for an input of {width} "
                f"channels it must be ({width} channels of 2 to {MAX_TAPS} taps)"
            )
        if dst == src:
            raise ModelFormatError(f"a convolution cannot write over its input, {src!r}")
        bias = plan.bias_of(weight, n_channels, bias)
        plan.declare(dst, width, like=src)
        plan.append(cls(dst, src, weight, bias, plan.state(taps - 1, width), silu))
