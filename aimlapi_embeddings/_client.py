"""The public client: it checks its options, and hands each call to the engine."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from typing import Any, Literal, Self

from aimlapi_embeddings._catalog.families import Model
from aimlapi_embeddings._catalog.models import find_model, find_provider
from aimlapi_embeddings._engine.budget import check_limits
from aimlapi_embeddings._engine.calls import estimating, lay_out
from aimlapi_embeddings._engine.limiter import Limiter
from aimlapi_embeddings._engine.pacing import BULK
from aimlapi_embeddings._engine.planning import most_texts
from aimlapi_embeddings._engine.progress import progress_context
from aimlapi_embeddings._engine.retries import RetryPolicy
from aimlapi_embeddings._engine.run import run_tasks, run_threads
from aimlapi_embeddings._engine.waiting import Clock, TaskCaller, ThreadCaller, loop_of_task
from aimlapi_embeddings._errors import ShortTraceback
from aimlapi_embeddings._protocol.arguments import checked_arguments
from aimlapi_embeddings._protocol.endpoint import endpoint, shown_url
from aimlapi_embeddings._protocol.options import (
    Options,
    TimeoutLike,
    check_amount,
    check_dimensions,
    check_encoding_format,
    check_extra_body,
    check_flag,
    check_headers,
    check_integer,
    check_prefix,
    check_seconds,
    check_task_type,
    check_timeout,
    check_too_long,
    expected_size,
)
from aimlapi_embeddings._protocol.request import (
    cache_namespace,
    identity,
)
from aimlapi_embeddings._protocol.secrets import SecretLike, as_secret, find_key
from aimlapi_embeddings._protocol.transport import check_http_clients
from aimlapi_embeddings._result import EmbeddingResult
from aimlapi_embeddings._runtime import Runtimes, Settings
from aimlapi_embeddings._slices import at_once, in_slices
from aimlapi_embeddings._text_streams import TextStreams
from aimlapi_embeddings._types import Estimate, Progress, Role, TaskType, Usage, Vector
from aimlapi_embeddings.cache import VectorCache
from aimlapi_embeddings.cache._vector_cache import as_cache

_NOT_TRACED = nullcontext()


class EmbeddingsClient(TextStreams):
    """Embeds texts with one model of the AI/ML API or of Nugen.

    One client may be shared by threads, tasks and event loops. It can be pickled, and used after
    a fork.

    Args:
        model: Id of the model. There is no default: vectors of different models cannot be compared.
        provider: `"aimlapi"` or `"nugen"`. None means that of the model where it is known, else
            `"aimlapi"`.
        api_key: A string, or an object with `get_secret_value()`. None means the environment
            variable `AIMLAPI_API_KEY` or `NUGEN_API_KEY`.
        base_url: None means the environment variable `AIMLAPI_API_BASE` or `NUGEN_API_BASE`, else
            the provider's URL. A host alone gets the provider's path.
        dimensions: Size of the vectors. None means the model's own size.
        task_type: A `TaskType` or its name. None means the default of the model family.
        family: The model family whose rules apply to a model that this version does not know.
        query_prefix: Put in front of each query, instead of the prefix of the model family.
        document_prefix: The same for documents.
        too_long: What happens to a text that is longer than the model takes: `"error"` refuses it,
            `"truncate"` embeds its beginning. None means that the server decides.
        normalize: Whether to scale vectors to length 1, for models whose vectors are longer.
        encoding_format: `"auto"` (base64 where the model documents it), `"float"` or `"base64"`.
        batch_size: Maximum number of texts in a request. It can only lower the limits that hold
            without it: that of the model, and one that keeps replies in flight small (1,024 texts
            of 1,536 numbers at 8 requests in flight).
        max_concurrency: Maximum number of requests in flight, over all calls of this client. None
            means 8 for calls of several requests. Calls of one request of at most 16 texts then
            have an adaptive limit of their own, which begins at 256. With a number, the limit
            holds for all calls, and those small ones go first.
        max_retries: Maximum number of repeats of a request.
        max_retry_wait: Longest wait in seconds that a server may ask for. A longer one raises.
        retry_for: Seconds after its first failure for which a request is repeated, instead of
            `max_retries` times. For batch jobs.
        timeout: Seconds for connecting, for sending, and for each wait for more of a reply. None
            means 60, or the timeout of an HTTP client of your own. A pair `(connect, read)` or an
            `httpx.Timeout` sets them separately. An attempt as a whole may take three times as
            long as one wait for a reply.
        requests_per_minute: Maximum rate of requests, over all calls of this client. Requests are
            spaced evenly, after a burst of the requests of one second, at least 1.
        tokens_per_minute: Maximum rate of tokens. They are estimated, and corrected by the replies.
        max_usd: Maximum of US dollars that all calls of this client may cost together. A request
            that could exceed it is not sent, and the call raises a `BudgetExceededError`.
        max_tokens: The same in tokens, also for models without a published price.
        rate_limiter: One of LangChain or LlamaIndex, or an object with `acquire` and `aacquire`. It
            is asked once for each request, with the estimated tokens where it takes them.
        cache: A `VectorCache`, or the path of its file. Texts whose vectors are in it are not sent.
            Vectors that are received are written to it.
        headers: Headers of each request, in addition to those of this package.
        extra_body: Additional fields of the body of each request. They replace fields of the same
            name.
        http_client: An `httpx.Client` for sync calls. It is not closed by this client.
        async_http_client: An `httpx.AsyncClient` for async calls, in its own event loop.
        allow_http: Whether to send the key unencrypted to a host that is not this machine.

    Raises:
        ConfigurationError: The key or the model is missing, an option is not known, or it is not
            possible for this model.
        TypeError: A positional argument.
        CacheError: The file of the cache cannot be used.

    Example:
        >>> client = EmbeddingsClient(model="text-multilingual-embedding-002")  # doctest: +SKIP
        >>> client.embed(["a text", "another"]).array().shape  # doctest: +SKIP
        (2, 768)
    """

    _clock = Clock()

    @checked_arguments()
    def __init__(
        self,
        *,
        model: str,
        provider: Literal["aimlapi", "nugen"] | None = None,
        api_key: str | SecretLike | None = None,
        base_url: str | None = None,
        dimensions: int | None = None,
        task_type: TaskType | str | None = None,
        family: str | None = None,
        query_prefix: str | None = None,
        document_prefix: str | None = None,
        too_long: Literal["error", "truncate"] | None = None,
        normalize: bool = False,
        encoding_format: Literal["auto", "float", "base64"] = "auto",
        batch_size: int | None = None,
        max_concurrency: int | None = None,
        max_retries: int = 5,
        max_retry_wait: float = 60.0,
        retry_for: float | None = None,
        timeout: TimeoutLike | None = None,
        requests_per_minute: float | None = None,
        tokens_per_minute: float | None = None,
        max_usd: float | None = None,
        max_tokens: int | None = None,
        rate_limiter: Any = None,
        cache: VectorCache | str | os.PathLike[str] | None = None,
        headers: Mapping[str, str] | None = None,
        extra_body: Mapping[str, Any] | None = None,
        http_client: Any = None,
        async_http_client: Any = None,
        allow_http: bool = False,
    ) -> None:
        with ShortTraceback():
            where = find_provider(model, provider)
            row = find_model(model, where, family)
            size = check_dimensions(row, dimensions)
            bound = (
                None
                if max_concurrency is None
                else check_integer("max_concurrency", max_concurrency, 1)
            )
            rpm = check_amount("requests_per_minute", requests_per_minute)
            tpm = check_amount("tokens_per_minute", tokens_per_minute)
            # A rate limiter counts requests, so a call makes as few as it can.
            limited = any(limit is not None for limit in (rate_limiter, rpm, tpm))
            side_by_side = 1 if limited else bound or BULK
            most = most_texts(row, size, side_by_side)
            task = check_task_type(row.family, task_type)
            check_http_clients(http_client, async_http_client)
            self._settings = Settings(
                options=Options(
                    id=str.__str__(model),  # a plain string, where it is one of NumPy's
                    model=row,
                    provider=where,
                    dimensions=size,
                    task_type=task,
                    document_prefix=check_prefix("document_prefix", document_prefix, task),
                    query_prefix=check_prefix("query_prefix", query_prefix, task),
                    too_long=check_too_long(row.family, too_long),
                    normalize=check_flag("normalize", normalize),
                    encoding_format=check_encoding_format(row.family, encoding_format),
                    extra_body=check_extra_body(extra_body),
                    batch_size=most
                    if batch_size is None
                    else min(most, check_integer("batch_size", batch_size, 1)),
                ),
                policy=RetryPolicy(
                    check_integer("max_retries", max_retries, 0),
                    check_seconds("max_retry_wait", max_retry_wait, allow_zero=True),
                    None if retry_for is None else check_seconds("retry_for", retry_for),
                ),
                timeout=check_timeout(timeout),
                headers=check_headers(headers),
                key=find_key(where, as_secret(api_key)),
                url=endpoint(
                    where,
                    (os.environ.get(where.api_base_variable) or where.base_url)
                    if base_url is None or (isinstance(base_url, str) and not base_url)
                    else base_url,
                    allow_http=check_flag("allow_http", allow_http),
                ),
                max_concurrency=bound,
                requests_per_minute=rpm,
                tokens_per_minute=tpm,
                spending=check_limits(row, where, max_usd, max_tokens),
                limiter=None if rate_limiter is None else Limiter(rate_limiter),
                http_client=http_client,
                async_http_client=async_http_client,
                cache=as_cache(cache),
            )
        self._runtimes = Runtimes(self._settings, self._clock)

    def embed(
        self,
        texts: Sequence[str],
        *,
        role: Role = "document",
        task_type: TaskType | str | None = None,
        titles: Sequence[str | None] | None = None,
        progress: Progress | bool | None = None,
        known: Mapping[int, Vector | bytes] | None = None,
    ) -> EmbeddingResult:
        """Embed n texts; `aembed` is the same for async callers.

        Args:
            texts: A list of n strings, none empty; any length. `[]` sends nothing.
            role: `"document"` for texts that are stored and searched, `"query"` for a question.
            task_type: Instead of the client's.
            titles: n titles or None, for families that take titles.
            progress: True shows a bar. A function is called as `progress(done, total)`, in texts,
                at the start and with each finished request, in this thread (or event loop).
            known: Vectors that you have already, by the position of their text: lists of floats,
                or bytes of little-endian float32. Their texts are not sent. Result, errors and
                progress cover the whole list.

        Returns:
            n vectors of d floats in the order of the texts, and what they cost.

        Raises:
            InvalidInputError: Texts that cannot be embedded; nothing was sent.
            ConfigurationError: A task type or titles that the model does not have.
            APIStatusError: The server refused; the subclass says why.
            APIConnectionError: The server cannot be reached.
            ReplyError: The server's reply has wrong vectors.
            CacheError: The cache cannot be read; nothing was sent.
            BudgetExceededError: The call could exceed `max_usd` or `max_tokens`.
        """
        runtime, caller = self._runtimes.current, ThreadCaller()
        trace = runtime.telemetry.begin(runtime.limits.encoding_format)
        with ShortTraceback(), trace or _NOT_TRACED, progress_context(progress) as callback:
            known = known or {}
            work = lay_out(runtime, caller, texts, role, task_type, titles, callback, known, trace)
            call, collector = at_once(work)
            with collector:
                run_threads(call, caller, collector)
                return at_once(collector.result(runtime.options.id, call.work))

    async def aembed(
        self,
        texts: Sequence[str],
        *,
        role: Role = "document",
        task_type: TaskType | str | None = None,
        titles: Sequence[str | None] | None = None,
        progress: Progress | bool | None = None,
        known: Mapping[int, Vector | bytes] | None = None,
    ) -> EmbeddingResult:
        """Embed n texts, like `embed`, with the same requests."""
        runtime, caller = self._runtimes.current, TaskCaller(loop_of_task(texts))
        trace = runtime.telemetry.begin(runtime.limits.encoding_format)
        with ShortTraceback(), trace or _NOT_TRACED, progress_context(progress) as callback:
            known = known or {}
            work = lay_out(runtime, caller, texts, role, task_type, titles, callback, known, trace)
            call, collector = await in_slices(work, collect=bool(known))
            with collector:
                await run_tasks(call, collector)
                return await in_slices(collector.result(runtime.options.id, call.work))

    def estimate(
        self,
        texts: Sequence[str],
        *,
        role: Role = "document",
        task_type: TaskType | str | None = None,
        titles: Sequence[str | None] | None = None,
    ) -> Estimate:
        """Return what `embed` would send and cost for these texts. Nothing is sent.

        Args:
            texts: As for `embed`.
            role: As for `embed`.
            task_type: As for `embed`.
            titles: As for `embed`.

        Raises:
            InvalidInputError: Texts that cannot be embedded.
            ConfigurationError: A task type or titles that the model does not have.
        """
        runtime = self._runtimes.current
        with ShortTraceback():
            return at_once(estimating(runtime, texts, role, task_type, titles))

    async def aestimate(
        self,
        texts: Sequence[str],
        *,
        role: Role = "document",
        task_type: TaskType | str | None = None,
        titles: Sequence[str | None] | None = None,
    ) -> Estimate:
        """Return what `aembed` would send and cost, like `estimate`."""
        runtime = self._runtimes.current
        with ShortTraceback():
            return await in_slices(estimating(runtime, texts, role, task_type, titles))

    @property
    def model(self) -> Model:
        """What is known about the model: sizes, limits, family."""
        return self._settings.options.model

    @property
    def dimensions(self) -> int | None:
        """Size of the vectors, or None when it is not known before a reply."""
        return expected_size(self._settings.options)

    @property
    def identity(self) -> dict[str, Any]:
        """The options that determine the vectors; equal for clients that send the same requests.

        An option that does not change a request is None. The base URL is the one in use, without
        its query string.
        """
        return identity(self._settings.options, self._settings.url)

    @property
    def cache_namespace(self) -> str:
        """A name for caches, equal for all clients that send the same requests.

        It depends on endpoint, model, dimensions, task type, prefixes, format and extra fields,
        and can be part of a file name. Documents and queries share it: keep them in separate
        caches.
        """
        return cache_namespace(self._settings.options, self._settings.url)

    @property
    def usage(self) -> Usage:
        """The usage of all calls of this client in this process, failed ones included.

        It is updated with each reply, during a call too.
        """
        return self._runtimes.current.meter.usage

    def close(self) -> None:
        """Close the connections of sync calls. The client can be used again.

        It returns at once. A connection that is in use is closed when its request ends.
        """
        self._runtimes.current.close()

    async def aclose(self) -> None:
        """Close the connections of sync calls and of this event loop's calls."""
        self.close()
        await self._runtimes.current.transport.aclose()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        await self.aclose()

    def __repr__(self) -> str:
        if "_settings" not in self.__dict__:  # a traceback may show it half built
            return "EmbeddingsClient()"
        settings = self._settings
        return f"EmbeddingsClient(model={settings.options.id!r}, url={shown_url(settings.url)!r})"

    def __getstate__(self) -> dict[str, Any]:
        self._settings.check_picklable()
        # A subclass may have attributes of its own.
        return {name: value for name, value in self.__dict__.items() if name != "_runtimes"}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._runtimes = Runtimes(self._settings, self._clock)

    def __copy__(self) -> Self:
        """Return a twin that shares connections, bound and usage."""
        twin = type(self).__new__(type(self))
        twin.__dict__.update(self.__dict__)
        return twin

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        return self.__copy__()  # connections cannot be copied, and options never change

    def _continue(self, other: EmbeddingsClient) -> None:
        """Go on for a client that had other options, with its usage, bound and connections."""
        self._runtimes.go_on_for(other._runtimes)
