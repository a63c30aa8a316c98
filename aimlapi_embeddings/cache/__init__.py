"""A file of vectors that are paid for.

`python -m aimlapi_embeddings.cache PATH` tells what it holds, and prunes it.
"""

from aimlapi_embeddings._errors import CacheError, CacheWarning
from aimlapi_embeddings.cache._vector_cache import VectorCache

__all__ = ["CacheError", "CacheWarning", "VectorCache"]
