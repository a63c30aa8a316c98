"""LangChain embeddings for the AI/ML API and for Nugen."""

try:
    import langchain_core as _langchain_core  # noqa: F401  (asked for, so that its absence has a remedy)
except ImportError as error:
    raise ImportError(
        'langchain-core is missing: pip install "aimlapi-embeddings[langchain]"'
    ) from error

from langchain_aimlapi_embeddings.embeddings import AIMLAPIEmbeddings, NugenEmbeddings

__all__ = ["AIMLAPIEmbeddings", "NugenEmbeddings"]
