"""A provider for Daft: `embed_text(column, provider=DaftProvider(...), model=...)`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from aimlapi_embeddings._errors import ConfigurationError
from aimlapi_embeddings._protocol.secrets import SecretLike
from aimlapi_embeddings.batches._step import EmbedBatches

try:
    from daft import DataType
    from daft.ai.protocols import TextEmbedderDescriptor
    from daft.ai.provider import Provider
    from daft.ai.typing import EmbeddingDimensions, UDFOptions
except ImportError as error:
    raise ImportError(
        "aimlapi_embeddings.batches.daft needs Daft: pip install 'aimlapi-embeddings[daft]'"
    ) from error

__all__ = ["DaftProvider"]

_ROWS = 1_000  # in a batch, of which our client makes requests


class DaftProvider(Provider):
    """Embeds a column of a Daft DataFrame with a model of the AI/ML API or of Nugen.

    Args:
        batch_size: Rows that Daft hands over at a time; the client cuts them into requests.
        api_key: A function that fetches the key, as for `EmbedBatches`.
        options: Of `EmbedBatches`, but for `model` and `dimensions`, which `embed_text` takes, and
            the names of columns. A row without a text gets a null vector with `on_error="keep"`.

    Example:
        >>> provider = DaftProvider()  # doctest: +SKIP
        >>> vector = embed_text(col("text"), provider=provider, model="voyage-2")  # doctest: +SKIP
    """

    def __init__(
        self,
        *,
        batch_size: int = _ROWS,
        api_key: Callable[[], str | SecretLike] | None = None,
        **options: Any,
    ) -> None:
        self._batch_size = batch_size
        self._options = {"api_key": api_key, **options}

    @property
    def name(self) -> str:
        """What Daft calls it."""
        return "aimlapi"

    def get_text_embedder(
        self, model: str | None = None, dimensions: int | None = None, **options: Any
    ) -> TextEmbedderDescriptor:
        """Return what Daft sends to its workers.

        Raises:
            ConfigurationError: No model is named, or an option cannot work.
        """
        if model is None:
            raise ConfigurationError("embed_text needs model=: there is no default.")
        step = EmbedBatches(model=model, dimensions=dimensions, **{**self._options, **options})
        return _Descriptor(model, step, self._batch_size)


class _Descriptor(TextEmbedderDescriptor):
    def __init__(self, model: str, step: EmbedBatches, batch_size: int) -> None:
        self._model, self._step, self._batch_size = model, step, batch_size

    def get_provider(self) -> str:
        return "aimlapi"

    def get_model(self) -> str:
        return self._model

    def get_options(self) -> dict[str, Any]:
        return {}

    def get_dimensions(self) -> EmbeddingDimensions:
        return EmbeddingDimensions(size=self._step.size, dtype=DataType.float32())

    def get_udf_options(self) -> UDFOptions:
        # The client repeats what may be repeated; another layer above it would multiply that.
        return UDFOptions(batch_size=self._batch_size, max_retries=0)

    def instantiate(self) -> Any:
        return _Embedder(self._step)


class _Embedder:
    def __init__(self, step: EmbedBatches) -> None:
        self._step = step

    def embed_text(self, text: list[str | None]) -> list[Any]:
        """Return a vector for each text, or None where it has none."""
        vectors = self._step({"text": text})["vector"]
        return [None if np.isnan(vector[0]) else vector for vector in vectors]
