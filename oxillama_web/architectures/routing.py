"""How a mixture of experts chooses among them, as files state it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, NamedTuple

from ..errors import UnsupportedModelError

if TYPE_CHECKING:
    from ..plan.operations.experts import ExpertWeighting
    from .hyperparameters import Hyperparameters

# by their numbers in `expert_gating_func`
_GATES: dict[int, Gate] = {1: "softmax", 2: "sigmoid", 3: "softmax_of_used"}

Gate = Literal["softmax", "sigmoid", "softmax_of_used"]


class Routing(NamedTuple):
    """What `SelectExperts` takes besides logits and a bias; see there."""

    weighting: ExpertWeighting
    scale: float = 1.0
    n_groups: int = 1
    n_groups_used: int = 1


def read_routing(
    hparams: Hyperparameters, *, gate: Gate | None = None, is_normalized: bool = False
) -> Routing:
    """Return what a file states.

    Args:
        gate: the function of the router's logits, where the file states none; None: it must.
        is_normalized: whether a token's weights sum to the scale, where the file does not say.

    Raises:
        ModelFormatError: the file states too little.
        UnsupportedModelError: the function is unknown.
    """
    name = "expert_gating_func"
    if gate is None or hparams.get_int(name, 0):
        number = hparams.get_int(name)
        if number not in _GATES:
            raise UnsupportedModelError(
                f"{hparams.key(name)} is {number}; these are supported: "
                + ", ".join(f"{known} ({what})" for known, what in _GATES.items())
            )
        gate = _GATES[number]
    is_normalized = hparams.get_bool("expert_weights_norm", is_normalized)
    return Routing(
        _weighting(gate, is_normalized),
        # 0 means none in these files
        hparams.get_float("expert_weights_scale", 0.0) or 1.0,
        hparams.get_int("expert_group_count", 0) or 1,
        hparams.get_int("expert_group_used_count", 0) or 1,
    )


def _weighting(gate: Gate, is_normalized: bool) -> ExpertWeighting:
    if gate == "sigmoid":
        return "sigmoid_of_used" if is_normalized else "sigmoid"
    # a softmax over all, as a part of the used ones' sum, is that over those
    return "softmax_of_used" if is_normalized or gate == "softmax_of_used" else "softmax_of_all"
