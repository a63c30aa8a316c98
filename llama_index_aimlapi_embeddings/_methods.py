"""What does each method of the framework do: which cache, events and bar go with its call?"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from functools import partial
from typing import Any, Literal, TypeAlias

from llama_index.core.base.embeddings.base import Embedding
from llama_index.core.schema import BaseNode

from aimlapi_embeddings import Progress
from aimlapi_embeddings.adapters import (
    ProgressFactory,
    ShortTraceback,
    astoring_before,
    keeping_finished,
    partial_of,
    storing_before,
    warn_user,
)
from llama_index_aimlapi_embeddings._cache import CachedVectors
from llama_index_aimlapi_embeddings._events import (
    emit_events,
    emit_usage,
    keep_signature,
    trace_stream,
)
from llama_index_aimlapi_embeddings._fields import EmbeddingFields
from llama_index_aimlapi_embeddings._nodes import listed, name_nodes, point_to_nodes
from llama_index_aimlapi_embeddings._subclasses import filled_in, missing_from, replaces

# Of a batch: the methods that the base class has for this take texts alone, and a subclass may
# replace them.
_progress: ContextVar[Progress | None] = ContextVar("_progress", default=None)

# What embeds a batch of texts, and a subclass may replace.
_BATCH, _ABATCH = "_get_text_embeddings", "_aget_text_embeddings"

_Role: TypeAlias = Literal["document", "query"]


class EmbeddingMethods(EmbeddingFields):
    """The framework's methods on the client of the fields.

    Every method of the base class that asks a cache or a limiter is replaced: the base keeps
    vectors under the bare text, and asks the limiter for windows instead of requests.
    """

    # What subclasses of the user's may replace

    @keep_signature
    def _get_query_embedding(self, query: str) -> Embedding:
        with emit_usage(self.model_name) as brought:
            return brought(self.client.embed([query], role="query"))[0]

    @keep_signature
    async def _aget_query_embedding(self, query: str) -> Embedding:
        with emit_usage(self.model_name) as brought:
            return brought(await self.client.aembed([query], role="query"))[0]

    def _get_text_embedding(self, text: str) -> Embedding:
        return self._embed_documents([text])[0]

    async def _aget_text_embedding(self, text: str) -> Embedding:
        return (await self._aembed_documents([text]))[0]

    def _get_text_embeddings(self, texts: list[str]) -> list[Embedding]:
        return self._embed_documents(texts, _progress.get())

    async def _aget_text_embeddings(self, texts: list[str]) -> list[Embedding]:
        return await self._aembed_documents(texts, _progress.get())

    def _embed_documents(
        self,
        texts: list[str],
        progress: Progress | None = None,
        known: Mapping[int, Embedding] | None = None,
    ) -> list[Embedding]:
        with emit_usage(self.model_name) as brought:
            return brought(self.client.embed(texts, progress=progress, known=known)).vectors

    async def _aembed_documents(
        self,
        texts: list[str],
        progress: Progress | None = None,
        known: Mapping[int, Embedding] | None = None,
    ) -> list[Embedding]:
        with emit_usage(self.model_name) as brought:
            result = brought(await self.client.aembed(texts, progress=progress, known=known))
        return await result.avectors()

    # What is called

    @keep_signature
    def get_query_embedding(self, query: str) -> Embedding:
        """Embed a query.

        Args:
            query: A string, not empty.

        Returns:
            d floats.

        Raises:
            AIMLAPIError: See `aimlapi_embeddings`.
        """
        return self._embed_one(query, "query", "_get_query_embedding")

    @keep_signature
    async def aget_query_embedding(self, query: str) -> Embedding:
        """Embed a query, like `get_query_embedding`."""
        return await self._aembed_one(query, "query", "_aget_query_embedding")

    def get_text_embedding(self, text: str) -> Embedding:
        """Embed a document; see `get_text_embedding_batch` for many.

        Args:
            text: A string, not empty.

        Returns:
            d floats.

        Raises:
            AIMLAPIError: See `aimlapi_embeddings`.
        """
        return self._embed_one(text, "document", "_get_text_embedding")

    async def aget_text_embedding(self, text: str) -> Embedding:
        """Embed a document, like `get_text_embedding`."""
        return await self._aembed_one(text, "document", "_aget_text_embedding")

    def get_text_embedding_batch(
        self, texts: list[str], show_progress: bool = False, **kwargs: Any
    ) -> list[Embedding]:
        """Embed n documents: texts that are stored and searched.

        Args:
            texts: n strings, none empty.
            show_progress: Whether to show a bar that moves with each finished request.
            **kwargs: Of the framework, which hands them to each step of a pipeline. An option that
                would change the vectors is refused.

        Returns:
            n vectors of d floats, in the order of the texts.

        Raises:
            AIMLAPIError: See `aimlapi_embeddings`; `.partial` holds what was finished.
        """
        self._check_call(texts, kwargs)
        with keeping_finished() as vectors, emit_events(self, texts, vectors):
            cache = self._find_cache("document", _BATCH)
            known = cache.find(texts) if cache else {}
            try:
                with ShortTraceback(), self._tell_batch(show_progress) as progress:
                    vectors += self._embed_batch(texts, progress, known)
            except BaseException as error:
                if cache and (finished := self._finished(error, _BATCH)):
                    with storing_before(error, "embeddings_cache"):
                        cache.keep(texts, finished, known)
                point_to_nodes(error)
                raise
            if cache:
                cache.keep(texts, vectors, known)
        return vectors

    async def aget_text_embedding_batch(
        self, texts: list[str], show_progress: bool = False, **kwargs: Any
    ) -> list[Embedding]:
        """Embed n texts, like `get_text_embedding_batch`, with the same requests."""
        self._check_call(texts, kwargs)
        with (
            keeping_finished() as vectors,
            emit_events(self, texts, vectors, at_once=True) as copies,
        ):
            cache = self._find_cache("document", _ABATCH)
            known = await cache.afind(texts) if cache else {}
            try:
                with ShortTraceback(), self._tell_batch(show_progress) as progress:
                    vectors += await self._aembed_batch(texts, progress, known)
            except BaseException as error:
                if cache and (finished := self._finished(error, _ABATCH)):
                    async with astoring_before(error, "embeddings_cache"):
                        await cache.akeep(texts, finished, known)
                point_to_nodes(error)
                raise
            if cache:
                await cache.akeep(texts, vectors, known)
            if copies:
                await copies.make()
        return vectors

    def _embed_batch(
        self, texts: list[str], progress: Progress | None, known: Mapping[int, Embedding]
    ) -> list[Embedding]:
        if not self._replaces(_BATCH):
            return self._embed_documents(texts, progress, known)
        missing = missing_from(known, texts)
        embedded = self._get_text_embeddings(missing) if missing else []
        return filled_in(known, embedded, texts, type(self).__name__)

    async def _aembed_batch(
        self, texts: list[str], progress: Progress | None, known: Mapping[int, Embedding]
    ) -> list[Embedding]:
        if not self._replaces(_ABATCH):
            return await self._aembed_documents(texts, progress, known)
        missing = missing_from(known, texts)
        embedded = await self._aget_text_embeddings(missing) if missing else []
        return filled_in(known, embedded, texts, type(self).__name__)

    def _replaces(self, hook: str) -> bool:
        return replaces(type(self), EmbeddingMethods, hook)

    def _finished(self, error: BaseException, hook: str) -> Sequence[Embedding | None]:
        """Return what was finished before an error, by the position of its text.

        Where a subclass embeds batches, the positions in errors are its own.
        """
        found = partial_of(error)
        return () if found is None or self._replaces(hook) else found.vectors

    def _embed_one(self, text: str, role: _Role, hook: str) -> Embedding:
        vectors: list[Embedding] = []
        with ShortTraceback(), emit_events(self, [text], vectors):
            cache = self._find_cache(role, hook)
            known = cache.find([text]) if cache else {}
            vectors.append(known[0] if known else getattr(self, hook)(text))
            if cache:
                cache.keep([text], vectors, known)
        return vectors[0]

    async def _aembed_one(self, text: str, role: _Role, hook: str) -> Embedding:
        vectors: list[Embedding] = []
        with ShortTraceback(), emit_events(self, [text], vectors):
            cache = self._find_cache(role, hook)
            known = await cache.afind([text]) if cache else {}
            vectors.append(known[0] if known else await getattr(self, hook)(text))
            if cache:
                await cache.akeep([text], vectors, known)
        return vectors[0]

    def _find_cache(self, role: _Role, hook: str) -> CachedVectors | None:
        if self.embeddings_cache is None:
            return None
        namespace = self.client.cache_namespace
        if self._replaces(hook):  # by a subclass, whose vectors differ from ours
            namespace += "-" + hashlib.sha256(str(self.to_dict()).encode()).hexdigest()[:16]
        collection = f"embeddings-{namespace}-{role}"
        return CachedVectors(self.embeddings_cache, collection, self.client.dimensions)

    @contextmanager
    def _tell_batch(self, show_progress: bool) -> Iterator[Progress | None]:
        """Show a bar, also where a subclass replaces the methods that take texts alone."""
        with self._show_bar(show_progress or self.show_progress) as progress:
            token = _progress.set(progress)
            try:
                yield progress
            finally:
                _progress.reset(token)

    def _progress_factory(self, method: str) -> ProgressFactory:
        if self.embeddings_cache is not None and self.cache is None:
            warn_user(
                "a stream neither asks nor fills embeddings_cache, so all its texts are sent; "
                "cache= takes the path of a file that streams use too."
            )
        hook = _ABATCH if method.startswith("a") else _BATCH
        if self._replaces(hook):
            warn_user(
                f"a stream does not call the {hook} that {type(self).__name__} "
                "replaces, so its vectors may differ from those of batches."
            )
        bar = super()._progress_factory(method)
        return lambda bill: trace_stream(self, method, bill, bar(bill))

    # Nodes

    def __call__(self, nodes: Sequence[BaseNode], **kwargs: Any) -> Sequence[BaseNode]:
        """Put a vector into each node; an error names the nodes, and the others keep theirs.

        Args:
            nodes: n nodes of the framework, such as its documents.
            **kwargs: As of `get_text_embedding_batch`.

        Returns:
            The same nodes.

        Raises:
            AIMLAPIError: See `aimlapi_embeddings`.
        """
        nodes = listed(nodes)
        with name_nodes(nodes, partial(self._finished, hook=_BATCH)):
            return super().__call__(nodes, **kwargs)

    async def acall(self, nodes: Sequence[BaseNode], **kwargs: Any) -> Sequence[BaseNode]:
        """Put a vector into each node, like `__call__`."""
        nodes = listed(nodes)
        with name_nodes(nodes, partial(self._finished, hook=_ABATCH)):
            return await super().acall(nodes, **kwargs)
