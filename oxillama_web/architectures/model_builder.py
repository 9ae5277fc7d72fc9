"""What every architecture is built with: a model's sizes, its tensors and the steps of its layers.

A step appends operations to the plan. Steps hand values on in buffers of conventional names:

    tokens ─ embed ─► x
    x ─ norm ─► h ─ qkv ─► q, k, v ─ rope ─ attention ─► delta ─ add_residual ─► x
    x ─ norm ─► h ─ feed_forward ─► delta ─ add_residual ─► x
    x ─ logits ─► last ─► logits

Where an architecture does it differently, it names the buffers. Writing to a name again reuses its
memory, and all layers share the names. Anything that turns "h" into "delta" can be a layer's mixer
or feed-forward; what only one architecture has is a function of a `Layer` in its own file.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from ..errors import InvalidRequestError, ModelFormatError
from ..plan.builder import PlanBuilder
from ..plan.operations.attention import Attention
from ..plan.operations.elementwise import (
    Add,
    Clamp,
    Scale,
    SelectRows,
    Softcap,
)
from ..plan.operations.embedding import Embed, PositionEmbed
from ..plan.operations.linear import Linear
from ..plan.operations.rope import Rope, RopeTable
from ..plan.plan import Plan
from .feed_forwards import FeedForwardSteps
from .hyperparameters import (
    TOKEN_EMBEDDING,
    Hyperparameters,
    count_experts_used,
    layer_window,
    read_config,
    read_layer_sizes,
)
from .ranking_head import PLAIN_HEAD, RankingHead, append_ranking_head, has_ranking_head
from .rope import RopeParameters, scaled_rope
from .steps import Norm as Norm
from .steps import Steps

if TYPE_CHECKING:
    from ..config import ModelConfig
    from ..gguf.reader import GGUFFile
    from ..plan.operations.attention import PositionBias
    from ..plan.operations.rope import RopeStyle

POSITION_EMBEDDING = "position_embd.weight"
OUTPUT_HEAD = "output.weight"


class ModelBuilder(Steps):
    """A model under construction.

    Attributes:
        hparams: the file's metadata.
        config: its sizes, those of the largest layer where layers differ; see `override` and
            `layer_config`.
        n_experts_used: experts of a layer that each token uses, the most of all layers; 0 where
            there are none.
        plan: takes the operations.

    Raises:
        ModelFormatError: a size is missing or does not fit the others.
    """

    def __init__(self, gguf: GGUFFile, context_size: int | None = None) -> None:
        self.hparams = hparams = Hyperparameters(gguf)
        super().__init__(PlanBuilder(gguf.tensors), read_config(hparams, context_size), "")
        n_layers = self.config.n_layers
        self._layer_sizes = read_layer_sizes(hparams, n_layers, self.config.hidden_size)
        self.layer_experts_used = count_experts_used(hparams, n_layers)
        self.n_experts_used = max(self.layer_experts_used)
        self._tensors = gguf.tensors
        self._output = self._hidden = ""
        self._is_encoder = False

    def override(self, **sizes: Any) -> None:
        """Replace fields of `config`: sizes that this architecture's files state in another way.

        A list has a size for each layer.
        """
        for name, size in sizes.items():
            self._layer_sizes.pop(name, None)
            if isinstance(size, list):
                self._layer_sizes[name] = size
                sizes[name] = max(size)
        self.config = replace(self.config, **sizes)

    def layer_config(self, index: int) -> ModelConfig:
        """Return the sizes of a layer. Counts are 0 where it has nothing of the kind."""
        own: dict[str, Any] = {name: sizes[index] for name, sizes in self._layer_sizes.items()}
        return replace(self.config, **own)

    def require_sliding_window(self) -> None:
        """Refuse a file that states no sliding window."""
        if self.config.sliding_window < 1:
            key = self.hparams.key("attention.sliding_window")
            raise ModelFormatError(f"{key} is missing or zero")

    def leave_out_prediction_layers(self) -> None:
        """Count the layers without the last ones, if those only guess tokens ahead."""
        n_left_out = self.hparams.get_int("nextn_predict_layers", 0)
        if not 0 <= n_left_out < self.config.n_layers:
            key = self.hparams.key("nextn_predict_layers")
            raise ModelFormatError(f"{key} is {n_left_out} of {self.config.n_layers} layers")
        self.override(n_layers=self.config.n_layers - n_left_out)

    def layers(self) -> Iterator[Layer]:
        """Yield the layers, first to last."""
        for index in range(self.config.n_layers):
            yield Layer(self, index)

    def embed(self, scale: float = 1.0) -> None:
        """Look up the tokens' embeddings, into "x"."""
        Embed.append(self.plan, "x", TOKEN_EMBEDDING, scale)

    def learned_positions(self) -> None:
        """Add a learned vector for each position to "x".

        Raises:
            InvalidRequestError: the context is to be longer than the positions that were learned.
        """
        PositionEmbed.append(self.plan, "positions", POSITION_EMBEDDING)
        n_positions = self._tensors[POSITION_EMBEDDING].shape[1]
        if self.config.context_length > n_positions:
            raise ModelFormatError(
                f"tensor {POSITION_EMBEDDING!r} has {n_positions} positions, and the file states a "
                f"context of {self.config.context_length}"
            )
        if self.config.context_size > n_positions:
            raise InvalidRequestError(
                f"context_size is {self.config.context_size}; this model has learned {n_positions} "
                f"positions"
            )
        Add.append(self.plan, "x", "x", "positions")

    def rope_table(self, dst: str = "rope", rope: RopeParameters | None = None) -> None:
        """Compute the cosines and sines of the positions.

        Args:
            rope: None: as the file's metadata says, with a table for each number of rotated values
                that layers have.
        """
        dims = set(self._layer_sizes.get("rope_dim", ()))
        if rope is None and len(dims) > 1:
            for dim in sorted(dims):
                config = replace(self.config, rope_dim=dim)
                RopeTable.append(self.plan, f"{dst}.{dim}", *scaled_rope(self.hparams, config))
            return
        if len(dims) > 1:
            raise ModelFormatError(
                f"{self.hparams.key('rope.dimension_count')} differs between layers, which this "
                "architecture cannot do"
            )
        RopeTable.append(self.plan, dst, *(rope or scaled_rope(self.hparams, self.config)))

    def logits(
        self,
        norm: Norm,
        *,
        name: str = "output_norm",
        weighted: bool = True,
        scale: float | None = None,
        softcap: float = 0.0,
    ) -> None:
        """Normalize "x" where logits were asked for, and multiply by the vocabulary.

        The embedding serves as the output head where the file holds none. A reranker has its own
        head in place of it.

        Args:
            norm: the kind of the last norm.
            name: of its tensor.
            weighted: whether there is such a tensor.
            scale: of the logits.
            softcap: if above 0, bounds them to -softcap .. softcap by tanh.
        """
        SelectRows.append(self.plan, "last", "x")
        if weighted:
            self.norm(norm, name, "last", "last")
        else:
            self.unweighted_norm(norm, "last", "last")
        self._hidden = "last"
        if has_ranking_head(self):
            self._output = append_ranking_head(self, self.hparams, "last", PLAIN_HEAD)
            return
        weight = OUTPUT_HEAD if self.has(OUTPUT_HEAD) else TOKEN_EMBEDDING
        Linear.append(self.plan, "logits", "last", weight, "output.bias")
        if scale is not None:
            Scale.append(self.plan, "logits", "logits", scale)
        if softcap:
            Softcap.append(self.plan, "logits", "logits", softcap)
        self._output = "logits"

    def hidden_states(self, dense: Sequence[str] = (), head: RankingHead = PLAIN_HEAD) -> None:
        """End an encoder, which gives "x" where it was asked for, and scores if it is a reranker.

        Args:
            dense: matrices that follow, where the file holds them. They are meant for the pooled
                vector of a text; since they are linear, a mean of their products is the same.
            head: of the family's rerankers.
        """
        SelectRows.append(self.plan, "hidden", "x")
        hidden = "hidden"
        for name in dense:
            if self.has(f"{name}.weight"):
                self.linear(name, hidden, name)
                hidden = name
        if self.plan.width(hidden) != self.config.hidden_size:
            raise ModelFormatError(
                f"vectors of texts have {self.plan.width(hidden)} values; they must have the "
                f"model's {self.config.hidden_size}"
            )
        self._is_encoder, self._hidden, self._output = True, hidden, hidden
        if has_ranking_head(self):
            self._output = append_ranking_head(self, self.hparams, hidden, head)

    def finish(self) -> tuple[ModelConfig, Plan]:
        """Return the sizes and the plan, after `logits` or `hidden_states`."""
        plan = self.plan.build(
            self._output,
            self._hidden,
            is_encoder=self._is_encoder,
            is_reranker=has_ranking_head(self),
        )
        return self.config, plan


class Layer(FeedForwardSteps):
    """One of a model's layers."""

    def __init__(self, model: ModelBuilder, index: int) -> None:
        n_experts_used = model.layer_experts_used[index]
        super().__init__(model.plan, model.layer_config(index), index, n_experts_used)
        self.model = model

    def window(self, period: int, *, is_global_first: bool = False) -> int:
        """Return this layer's sliding window: 0 in every `period`-th one, if the file agrees.

        Args:
            is_global_first: whether 0 comes first of each period, not last.
        """
        hparams = self.model.hparams
        return layer_window(hparams, self.config, self.index, period, is_global_first)

    def add_residual(self, src: str = "delta", scale: float = 1.0) -> None:
        """Add scale * src to "x"."""
        Add.append(self.plan, "x", "x", src, scale)

    def qkv(self, src: str = "h") -> None:
        """Project queries, keys and values into "q", "k" and "v", by one matrix or by three."""
        config = self.config
        self._require("n_heads", "attention.head_count")
        self._require("n_kv_heads", "attention.head_count_kv")
        sizes = {
            "attn_q": config.n_heads * config.head_dim,
            "attn_k": config.n_kv_heads * config.head_dim,
            "attn_v": config.n_kv_heads * config.head_dim,
        }
        self.split("attn_qkv", sizes)
        for dst, name in zip("qkv", sizes, strict=True):
            self.linear(name, src, dst)

    def qk_norms(self, kind: Norm, *, optional: bool = False) -> None:
        """Normalize "q" and "k": whole rows or each head, as `attn_q_norm` and `attn_k_norm` fit.

        Args:
            optional: do nothing where the file holds neither of the two.
        """
        names = ("attn_q_norm", "attn_k_norm")
        if optional and not any(self.has(f"{name}.weight") for name in names):
            return
        for buffer, name in zip("qk", names, strict=True):
            self.norm(kind, name, buffer, buffer)

    def clamp_qkv(self, limit: float) -> None:
        """Bound "q", "k" and "v" to -limit .. limit; 0: leave them as they are."""
        for name in "qkv":
            if limit:
                Clamp.append(self.plan, name, name, limit)

    def rope(
        self, style: RopeStyle, table: str = "rope", names: Sequence[str] = ("q", "k")
    ) -> None:
        """Rotate queries and keys by their positions."""
        own_table = f"{table}.{self.config.rope_dim}"
        if self.plan.has_buffer(own_table):
            table = own_table
        for name in names:
            Rope.append(self.plan, name, table, self.config.head_dim, style)

    def attention(
        self,
        *,
        scale: float | None = None,
        window: int = 0,
        softcap: float = 0.0,
        causal: bool = True,
        max_alibi_bias: float = 0.0,
        sinks: str | None = None,
        position_bias: PositionBias | None = None,
        gate: str | None = None,
        project: bool = True,
    ) -> int:
        """Attend with "q" over "k", "v" and the cache, and project, into "delta".

        Returns:
            the number of the layer of the cache that now holds them.

        Args:
            scale: of the scores; None: 1 / sqrt(head size).
            window: the number of positions that a token sees, its own included; 0: all. If not
                causal, half of them are on each side.
            softcap: if above 0, bounds the scores to -softcap .. softcap by tanh.
            causal: whether a token sees only what comes before it.
            max_alibi_bias: if above 0, scores fall with the distance, by ALiBi.
            sinks: a tensor with a score of no value for each head, if there is one.
            position_bias: what is added to the scores by the distance.
            gate: a buffer by whose sigmoid the result is multiplied before the projection.
            project: whether to do so; else the result is left in "attended".
        """
        self._require("n_heads", "attention.head_count")
        self._require("n_kv_heads", "attention.head_count_kv")
        layer = Attention.append(
            self.plan,
            "attended",
            "q",
            "k",
            "v",
            n_heads=self.config.n_heads,
            n_kv_heads=self.config.n_kv_heads,
            scale=self.config.head_dim**-0.5 if scale is None else scale,
            window=window,
            softcap=softcap,
            causal=causal,
            max_alibi_bias=max_alibi_bias,
            sinks=None if sinks is None else f"{self.prefix}{sinks}.weight",
            position_bias=position_bias,
        )
        if gate is not None:
            self.glu("attended", gate, "attended", "sigmoid")
        if project:
            self.linear("attn_output", "attended", "delta")
        return layer

    def attention_over(self, layer: int, *, scale: float, window: int) -> None:
        """Attend with "q" over keys and values that an earlier layer has stored.

        Args:
            layer: what `attention` has returned there.
            scale, window: see `attention`.
        """
        Attention.append_over(
            self.plan,
            "attended",
            "q",
            layer,
            n_heads=self.config.n_heads,
            scale=scale,
            window=window,
        )
        self.linear("attn_output", "attended", "delta")

    def _require(self, size: str, key: str) -> None:
        """Refuse a layer that has nothing of a kind."""
        if getattr(self.config, size) < 1:
            raise ModelFormatError(
                f"{self.model.hparams.key(key)} is 0 in layer {self.index}, which must have some"
            )
