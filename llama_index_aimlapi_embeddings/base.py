"""The classes for both providers, and where the framework looks them up."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, Unpack

from llama_index_aimlapi_embeddings._fields import EmbeddingOptions
from llama_index_aimlapi_embeddings._methods import EmbeddingMethods


class AIMLAPIEmbedding(EmbeddingMethods, defer_build=False):
    """Embedding models of the AI/ML API.

    Args:
        model_name (str): Id of the model (`model` is accepted too).
        api_key (Optional[str]): The key. None means `AIMLAPI_API_KEY`.
        api_base (Optional[str]): The host (or `base_url`). None means `AIMLAPI_API_BASE`.
        dimensions (Optional[int]): Size of the vectors, for models that offer several.
        task_type (Optional[str]): The task that the vectors are for (Google's models).

    See the fields below for all of them.

    Examples:
        `pip install "aimlapi-embeddings[llama-index]"`

        ```python
        from llama_index.core import Settings
        from llama_index_aimlapi_embeddings import AIMLAPIEmbedding

        Settings.embed_model = AIMLAPIEmbedding(model_name="text-multilingual-embedding-002")
        vector = Settings.embed_model.get_query_embedding("What does the fox jump over?")
        ```
    """

    _provider = "aimlapi"

    if TYPE_CHECKING:

        def __init__(self, **options: Unpack[EmbeddingOptions]) -> None: ...


class NugenEmbedding(EmbeddingMethods, defer_build=False):
    """Embedding models of Nugen.

    Args:
        model_name (str): Id of the model (`model` is accepted too).
        api_key (Optional[str]): The key. None means `NUGEN_API_KEY`.
        api_base (Optional[str]): The host (or `base_url`). None means `NUGEN_API_BASE`.
        dimensions (Optional[int]): Size of the vectors.

    See the fields below for all of them.

    Examples:
        `pip install "aimlapi-embeddings[llama-index]"`

        ```python
        from llama_index_aimlapi_embeddings import NugenEmbedding

        embedding = NugenEmbedding(model_name="nugen-flash-embed", dimensions=256)
        vector = embedding.get_query_embedding("What does the fox jump over?")
        ```
    """

    _provider = "nugen"

    if TYPE_CHECKING:

        def __init__(self, **options: Unpack[EmbeddingOptions]) -> None: ...


# So that the framework's `load_embed_model` reads what `to_dict` wrote.
with suppress(ImportError):  # where the framework keeps its table is not documented
    from llama_index.core.embeddings.loading import RECOGNIZED_EMBEDDINGS

    for _class in (AIMLAPIEmbedding, NugenEmbedding):
        RECOGNIZED_EMBEDDINGS.setdefault(_class.class_name(), _class)
