"""A small embedding of each token for each layer, as Gemma 3n and 4 have them.

Google 2025, https://ai.google.dev/gemma/docs/gemma-3n. One table holds a token's vectors for all
layers in a row. Of the table only the rows of the tokens are read.
"""

from ..errors import ModelFormatError
from ..plan.operations.elementwise import GLU, Add, Scale, TakeColumns
from ..plan.operations.embedding import Embed
from .model_builder import Layer, ModelBuilder

TABLE = "per_layer_token_embd.weight"


class PerLayerEmbeddings:
    """The vectors of all layers, in "per_layer"; made from the tokens and from "x".

    Attributes:
        width: of a layer's vector; 0 where the model has none.
    """

    def __init__(self, model: ModelBuilder) -> None:
        name, n_layers = "embedding_length_per_layer_input", model.config.n_layers
        self.width = model.hparams.get_int(name)
        if not self.width:
            return
        plan = model.plan
        row = plan.matrix(TABLE)[0]
        if self.width < 0 or self.width * n_layers != row:
            raise ModelFormatError(
                f"{model.hparams.key(name)} is {self.width} for {n_layers} layers, and {TABLE!r} "
                f"has rows of {row} values"
            )
        Embed.append(plan, "per_layer", TABLE, self.width**0.5)
        model.linear("per_layer_model_proj", "x", "projected")
        Scale.append(plan, "projected", "projected", model.config.hidden_size**-0.5)
        model.rms_norm("per_layer_proj_norm", "projected", "projected")
        Add.append(plan, "per_layer", "per_layer", "projected")
        Scale.append(plan, "per_layer", "per_layer", 0.5**0.5)

    def project(self, layer: Layer, src: str) -> None:
        """Gate a layer's vector by `src`, and project it, into "delta"."""
        plan = layer.plan
        layer.linear("inp_gate", src, "per_layer_gate")
        TakeColumns.append(
            plan,
            "of_layer",
            "per_layer",
            group=plan.width("per_layer"),
            start=layer.index * self.width,
            count=self.width,
        )
        GLU.append(plan, "per_layer_gate", "per_layer_gate", "of_layer", "gelu")
        layer.linear("proj", "per_layer_gate", "delta")
        layer.rms_norm("post_norm", "delta", "delta")
