"""What an engine does with whole texts, besides conversations: vectors and rankings."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from .embeddings import Pooling
    from .model import LoadedModel
    from .rerank import RankedDocument


class WholeTextMethods:
    """The methods of an engine that touch no conversation."""

    if TYPE_CHECKING:

        @property
        def model(self) -> LoadedModel:
            """The engine's model."""

    def embed(
        self, text: str, pooling: Pooling | None = None, *, normalize: bool = True
    ) -> list[float]:
        """Return the text as a vector of `hidden_size` values; see `embed_batch`."""
        return self.embed_batch([text], pooling, normalize=normalize)[0]

    def embed_array(
        self,
        texts: Sequence[str | Sequence[int]],
        pooling: Pooling | None = None,
        *,
        normalize: bool = True,
    ) -> NDArray[np.float32]:
        """As `embed_batch`, but return an array of NumPy, float32 [texts, hidden_size]."""
        import numpy as np  # a page starts without it

        vectors = self.embed_batch(texts, pooling, normalize=normalize)
        return np.array(vectors, dtype=np.float32).reshape(
            len(texts), self.model.config.hidden_size
        )

    def embed_batch(
        self,
        texts: Sequence[str | Sequence[int]],
        pooling: Pooling | None = None,
        *,
        normalize: bool = True,
    ) -> list[list[float]]:
        """Return texts as vectors of `hidden_size` values, computed together.

        Both encoders and decoders can do this. Conversations are not touched.

        Args:
            texts: or their token ids; an empty one gives zeros.
            pooling: the "last" token, the "mean" or "max" of all tokens, or the first token,
                "cls". None does what the model file asks for, else "mean" for encoders and "last"
                for decoders.
            normalize: scale each vector to Euclidean length 1.

        Raises:
            ContextLengthError: a text does not fit into the context.
        """
        from .embeddings import embed_batch

        return embed_batch(self.model, texts, pooling, normalize=normalize).vectors

    def rerank(
        self, query: str, documents: Sequence[str], top_n: int | None = None
    ) -> list[RankedDocument]:
        """Return the `top_n` documents that answer a query best, or all, the best one first.

        All are computed together. Conversations are not touched.

        Raises:
            UnsupportedModelError: the model is no reranker.
            ContextLengthError: a document and the query do not fit into the context.
        """
        from .rerank import rerank

        return rerank(self.model, query, documents, top_n).documents
