"""The four adapter classes: two providers in each of two frameworks."""

from __future__ import annotations

from typing import Any

from langchain_aimlapi_embeddings import AIMLAPIEmbeddings, NugenEmbeddings
from llama_index_aimlapi_embeddings import AIMLAPIEmbedding, NugenEmbedding
from tests.support.entry_points import GOOGLE, KEY

NUGEN = "nugen-flash-embed"
LANGCHAIN = [AIMLAPIEmbeddings, NugenEmbeddings]
LLAMA_INDEX = [AIMLAPIEmbedding, NugenEmbedding]
ADAPTERS = [*LANGCHAIN, *LLAMA_INDEX]


def make(cls: type[Any], **options: Any) -> Any:
    """Build an adapter; key and model default to a test key and a model of its provider."""
    model = NUGEN if cls in (NugenEmbeddings, NugenEmbedding) else GOOGLE
    return cls(**{"model": model, "api_key": KEY, **options})
