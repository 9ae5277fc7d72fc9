"""Jina's embeddings 3: BERT with rotary positions.

Sturua et al. 2024, https://arxiv.org/abs/2409.10173. Files hold one of its adapters, or none.
"""

from .bert import add_token_type, append_layers, plain_feed_forward
from .model_builder import ModelBuilder

ARCHITECTURE = "jina-bert-v3"


def build(model: ModelBuilder) -> None:
    """Append the operations of a file of Jina's embeddings 3."""
    model.embed()
    add_token_type(model)
    append_layers(model, plain_feed_forward, is_rotary=True)
    model.hidden_states()
