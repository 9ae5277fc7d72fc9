"""Layers that remember what came before in a state of fixed size, instead of keys and values.

The tokens of a sequence are computed one after the other, in a prompt too. What divides the work is
the width of a state: its channels or heads depend on nothing of each other, so each thread goes
through all tokens with a few of them, which stay in its registers and nearest cache. So a pass over
several tokens computes the same bits as a pass for each.
"""

import math
from dataclasses import dataclass

from ...errors import ModelFormatError
from ..builder import PlanBuilder
from ..plan import Operation, OptionalVector, Partition, Plan, Read, State, Vector, Write

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


@dataclass(frozen=True, slots=True)
class Decay(Operation):
    """dst[t, i] = exp(rate[i / group] * softplus(src[t, i] + bias[i])); rates are below 0.

    How much of a state is left after a token (Gu and Dao 2023, https://arxiv.org/abs/2312.00752).
    There is a rate for each group of values.
    """

    kind = 27
    replicable = True

    dst: Write
    src: Read
    bias: Vector
    rate: Vector

    @classmethod
    def append(cls, plan: PlanBuilder, dst: str, src: str, bias: str, rate: str) -> None:
        """Compute decays with tensors of biases, one a value, and rates, one a group of values."""
        width, n_rates = plan.width(src), plan.vector(rate)
        if plan.vector(bias) != width or width % n_rates:
            raise ModelFormatError(
                f"tensors {bias!r} and {rate!r} have {plan.vector(bias)} and {n_rates} values, "
                f"which do not fit a row of {width}"
            )
        plan.declare(dst, width, like=src)
        plan.append(cls(dst, src, bias, rate))

    def partition(self, name: str, plan: Plan) -> Partition | None:
        """See `Operation.partition`: by rows."""
        return ("heads", 1)


@dataclass(frozen=True, slots=True)
class GatedDeltaRule(Operation):
    """Linear attention that corrects what its state S, [k_dim, v_dim] a head, gives for a key.

    For each token and head, with a key k and a query q that are scaled first:

        S = diag(decay) S;  S = S + k (beta (v - S^T k))^T;  dst = S^T q

    Yang et al. 2024, https://arxiv.org/abs/2412.06464. A head has one decay, or one for each value
    of a key (Kimi Team 2025, https://arxiv.org/abs/2510.26692). Where there are fewer heads of
    queries and keys, several heads share one of those: neighbours, or in turn.
    """

    kind = 25

    dst: Write
    query: Read
    key: Read
    value: Read
    decay: Read
    beta: Read
    state: State
    n_heads: int
    n_key_heads: int
    in_turn: bool
    query_scale: float
    key_scale: float

    @classmethod
    def append(
        cls,
        plan: PlanBuilder,
        dst: str,
        query: str,
        key: str,
        value: str,
        decay: str,
        beta: str,
        *,
        n_heads: int,
        n_key_heads: int,
        in_turn: bool = False,
        query_scale: float,
        key_scale: float,
    ) -> None:
        """Append the rule with a state of its own.

        Args:
            decay: factors, one for each head or for each value of a key.
            beta: one for each head.
            in_turn: head h takes key head h modulo n_key_heads, not h divided by the heads of each.
        """
        k_dim, k_rest = divmod(plan.same_width(query, key), n_key_heads)
        v_dim, v_rest = divmod(plan.width(value), n_heads)
        n_decays = plan.width(decay)
        if (
            *(k_rest, v_rest, n_heads % n_key_heads),
            plan.width(beta) == n_heads,
            n_decays in (n_heads, n_heads * k_dim),
        ) != (0, 0, 0, True, True):
            raise ModelFormatError(
                f"{n_heads} heads of values and {n_key_heads} of keys do not fit rows of "
                f"{plan.width(key)} keys, {plan.width(value)} values, {n_decays} decays and "
                f"{plan.width(beta)} betas"
            )
        state = plan.state(n_heads * k_dim, v_dim)
        plan.declare(dst, n_heads * v_dim, like=value)
        scales = (query_scale, key_scale)
        sizes = (n_heads, n_key_heads, in_turn)
        plan.append(cls(dst, query, key, value, decay, beta, state, *sizes, *scales))


@dataclass(frozen=True, slots=True)
class SelectiveScan(Operation):
    """A linear recurrence with a state S, [n_state, head_dim] a head.

    For each token and head, with d = softplus(step + bias):

        S = exp(d rate) S + b (d x)^T;  dst = S^T c + skip x

    Mamba 2 has a step and a rate for each head (Dao and Gu 2024, https://arxiv.org/abs/2405.21060).
    Mamba has one head, and in it a step for each value and a rate for each value of the state (Gu
    and Dao 2023, https://arxiv.org/abs/2312.00752). Neighbouring heads of a group share b and c.
    """

    kind = 26

    dst: Write
    x: Read
    step: Read
    b: Read
    c: Read
    bias: OptionalVector
    rate: Vector
    skip: Vector
    state: State
    n_heads: int
    n_groups: int

    @classmethod
    def append(
        cls,
        plan: PlanBuilder,
        dst: str,
        x: str,
        step: str,
        b: str,
        c: str,
        *,
        bias: str | None,
        rate: str,
        skip: str,
        n_heads: int,
        n_groups: int,
    ) -> None:
        """Append the recurrence with a state of its own; a bias may be added to steps before."""
        width, n_steps = plan.width(x), plan.width(step)
        head_dim, rest = divmod(width, n_heads)
        n_state, group_rest = divmod(plan.same_width(b, c), n_groups)
        n_rates, n_skips = (math.prod(plan.whole_shape(name)) for name in (rate, skip))
        if (
            (rest or group_rest or n_heads % n_groups)
            or (n_steps, n_rates) not in ((n_heads, n_heads), (width, width * n_state))
            or n_skips not in (n_heads, width)
            or (bias is not None and plan.vector(bias) != n_steps)
        ):
            raise ModelFormatError(
                f"a scan of {n_heads} heads in {n_groups} groups does not fit rows of {width} "
                f"values, {n_steps} steps and {plan.width(b)} inputs with {n_rates} values of "
                f"{rate!r} and {n_skips} of {skip!r}"
            )
        state = plan.state(n_heads * n_state, head_dim)
        plan.declare(dst, width, like=x)
        plan.append(cls(dst, x, step, b, c, bias, rate, skip, state, n_heads, n_groups))
