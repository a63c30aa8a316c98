"""LlamaIndex embeddings for the AI/ML API and for Nugen."""

try:
    import llama_index.core as _llama_index_core  # noqa: F401  (asked for, so that its absence has a remedy)
except ImportError as error:
    raise ImportError(
        'llama-index-core is missing: pip install "aimlapi-embeddings[llama-index]"'
    ) from error

from llama_index_aimlapi_embeddings._events import EmbeddingUsageEvent
from llama_index_aimlapi_embeddings.base import AIMLAPIEmbedding, NugenEmbedding

__all__ = ["AIMLAPIEmbedding", "EmbeddingUsageEvent", "NugenEmbedding"]
