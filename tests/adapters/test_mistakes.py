"""What people do wrong in their first hour, and what they are told: the culprit and the remedy."""

from __future__ import annotations

import asyncio
import socket
import traceback
import warnings
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import httpx
import numpy as np
import pytest
from langchain_core.documents import Document
from llama_index.core.schema import TextNode

import aimlapi_embeddings
import langchain_aimlapi_embeddings
import llama_index_aimlapi_embeddings
from aimlapi_embeddings import InvalidInputError
from aimlapi_embeddings.emulator import Fault
from tests.support.adapter_classes import NUGEN
from tests.support.entry_points import GOOGLE, KEY, OPENAI, EntryPoint, Package

OURS = tuple(
    str(Path(str(package.__file__)).parent)
    for package in (
        aimlapi_embeddings,
        langchain_aimlapi_embeddings,
        llama_index_aimlapi_embeddings,
    )
)
ADAPTERS: tuple[Package, ...] = ("langchain", "llama_index")
ALL: tuple[Package, ...] = ("core", *ADAPTERS)


class Series:
    """What a Series of pandas looks like: no sequence, but with a `tolist`."""

    def tolist(self) -> list[str]:
        return ["a"]


class Mistake(NamedTuple):
    """What is done, what the message says (`{option}` as this package calls it), and where."""

    do: Callable[[EntryPoint], object]
    says: tuple[str, ...]
    packages: tuple[Package, ...] = ALL


def build(**options: Any) -> Callable[[EntryPoint], object]:
    """Make an object with these options, by the names that the package has for them."""
    return lambda entry: entry.make(**{"model": OPENAI, **options})


def argument(name: str, value: Any = 1) -> Callable[[EntryPoint], object]:
    """Make an object with an argument of exactly this name."""

    def do(entry: EntryPoint) -> object:
        kind: Any = type(entry.make(OPENAI).embedder)
        return kind(model=OPENAI, api_key=KEY, **{name: value})

    return do


def only(**options: Any) -> Callable[[EntryPoint], object]:
    return lambda entry: entry.make_plain(**options)


def documents(texts: Any, model: str = OPENAI, **options: Any) -> Callable[[EntryPoint], object]:
    return lambda entry: entry.make(model, **options).documents(texts)


def query(text: Any) -> Callable[[EntryPoint], object]:
    return lambda entry: entry.make(OPENAI).query(text)


def served(*faults: Fault | Exception, model: str = OPENAI) -> Callable[[EntryPoint], object]:
    """Embed with a server that answers with these faults."""

    def do(entry: EntryPoint) -> object:
        entry.fake_server.will(*faults)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of unknown models; a test of its own
            return entry.make(model, max_retries=0).documents(["a"])

    return do


def positional(entry: EntryPoint) -> object:
    kind: Any = type(entry.make(OPENAI).embedder)
    return kind(OPENAI)


def no_such_host() -> Exception:
    error = httpx.ConnectError("Name or service not known")
    error.__cause__ = socket.gaierror(socket.EAI_NONAME, "Name or service not known")
    return error


def unknown(argument: str, *says: str) -> tuple[str, ...]:
    return (f"has no argument {argument!r}", *says)


REFUSED = "texts must be a list of strings"
MISTAKES: Mapping[str, Mistake] = {
    "no key": Mistake(only(model=OPENAI), ("no API key: set AIMLAPI_API_KEY, or pass api_key",)),
    "no model": Mistake(
        only(api_key=KEY), ("{model} is missing", "name the one", "supported_models()")
    ),
    "batchsize=": Mistake(
        argument("batchsize"), unknown("batchsize", "did you mean 'batch_size'?")
    ),
    **{
        f"{name}=": Mistake(argument(name), unknown(name, "not needed", "Remove it."))
        for name in (
            "deployment",
            "check_embedding_ctx_length",
            "tiktoken_enabled",
            "skip_empty",
            "openai_api_version",
        )
    },
    "openai_api_key=": Mistake(
        argument("openai_api_key", "sk-x"),
        unknown("openai_api_key", "it is called 'api_key' here"),
    ),
    "extra_body= in an adapter": Mistake(
        argument("extra_body", {}),
        unknown("extra_body", "it is called '{extra_body}' here"),
        ADAPTERS,
    ),
    **{
        f"{name}= in the core": Mistake(
            argument(name), unknown(name, f"it is called {ours!r} here"), ("core",)
        )
        for name, ours in (
            ("chunk_size", "batch_size"),
            ("embed_batch_size", "batch_size"),
            ("model_name", "model"),
            ("model_kwargs", "extra_body"),
            ("rpm", "requests_per_minute"),
            ("tpm", "tokens_per_minute"),
            ("truncate", "too_long"),
            ("max_dollars", "max_usd"),
            ("budget_usd", "max_usd"),
            ("budget", "max_usd"),
            ("default_headers", "headers"),
        )
    },
    "a name like no other": Mistake(
        argument("zzzz"), unknown("zzzz", "It has ", "dimensions", "max_retries")
    ),
    "dimensions of another size": Mistake(
        build(dimensions=4096), ("dimensions=4096 is not a size of", "1 to 1536")
    ),
    "a task type misspelt": Mistake(
        build(model=GOOGLE, task_type="RETRIEVAL_QERY"),
        ("task_type='RETRIEVAL_QERY' is not one of", "did you mean 'RETRIEVAL_QUERY'?"),
    ),
    "a task type of OpenAI": Mistake(
        build(task_type="CLUSTERING"), ("task_type='CLUSTERING' is not possible", "Leave it out")
    ),
    "chunk_size=0": Mistake(
        build(batch_size=0), ("{batch_size}=0 is not an integer of 1 or more",)
    ),
    "model_kwargs={'input': 1}": Mistake(
        build(extra_body={"input": 1}), ("{extra_body} cannot hold input; leave it out",)
    ),
    "timeout=(3, -1)": Mistake(
        build(timeout=(3, -1)), ("{timeout}=(3, -1): read=-1 is not a positive number",)
    ),
    "timeout='soon'": Mistake(build(timeout="soon"), ("{timeout}", "number of seconds")),
    "http to a remote host": Mistake(
        build(base_url="http://elsewhere/v1"),
        ("base_url='http://elsewhere/v1'", "Use https, or", "allow_http=True"),
    ),
    "base_url without a scheme": Mistake(
        build(base_url="api.aimlapi.com/v1"),
        ("base_url='api.aimlapi.com/v1' is not an http(s) URL", "'https://api.aimlapi.com/v1'"),
    ),
    "a key with a line break": Mistake(
        build(api_key=f"{KEY}\n"), ("api_key has a character", "line break around it")
    ),
    "the model by position": Mistake(positional, ("keyword arguments only", "({model}=...)")),
    "a wrong model name": Mistake(
        served(model="text-embedding-3-smal"),
        ("received 'text-embedding-3-smal'", "Did you mean text-embedding-3-small?"),
    ),
    "a model of Nugen": Mistake(
        only(model=NUGEN, api_key=KEY),
        ("is a model of nugen and not of aimlapi: use Nugen",),
        ADAPTERS,
    ),
    "a model of Nugen, in the core": Mistake(
        only(model=NUGEN, api_key=KEY), ("of aimlapi: use provider='nugen'",), ("core",)
    ),
    "a wrong key": Mistake(
        served(Fault(401)), ("401 Unauthorized", "Check api_key; keys are made")
    ),
    "no funds": Mistake(served(Fault(403)), ("403 Forbidden", "Top up the balance")),
    "429 with an hour": Mistake(
        served(Fault(429, retry_after="3600")),
        (
            "the server asks to wait 3,600 s, more than max_retry_wait=60",
            "Call again after that time, or raise max_retry_wait.",
        ),
    ),
    "an empty text among 1,000": Mistake(
        documents(["a"] * 500 + [""] + ["a"] * 499),
        ("1 of 1000 texts", "texts[500] is empty", "replace them, or leave them out"),
    ),
    "an empty query": Mistake(query(""), ("the query is empty", "a query is a string of one")),
    "NaN": Mistake(documents(["a", float("nan")]), ("texts[1] is NaN", ".dropna()")),
    "a document of LangChain": Mistake(
        documents([Document("a")]), ("texts[0] is a Document", "document.page_content")
    ),
    "a node of LlamaIndex": Mistake(
        documents([TextNode(text="a")]), ("texts[0] is a TextNode", "document.get_content()")
    ),
    "a document instead of a list": Mistake(
        documents(Document("a")), (REFUSED, "a Document", "[document.page_content]")
    ),
    "one string": Mistake(documents("a"), (REFUSED, "[text]")),
    "an ndarray": Mistake(
        documents(np.array(["a", "b"])), (REFUSED, "not an ndarray", "Pass texts.tolist().")
    ),
    "a Series": Mistake(documents(Series()), (REFUSED, "Pass texts.tolist().")),
    "a generator": Mistake(
        documents(text for text in "ab"), (REFUSED, "a generator", "Pass list(texts).", "_iter")
    ),
    "an over-long text": Mistake(
        documents(["word " * 20_000]),
        ("text 0 of 1", "Shorten the text, or split it", 'choose too_long="truncate"'),
    ),
    "refused": Mistake(
        served(httpx.ConnectError("refused")), ("refused", "check base_url, the network")
    ),
    "DNS": Mistake(served(no_such_host()), ("the host name was not found; check the network",)),
    "a timeout": Mistake(
        served(httpx.ReadTimeout("slow")), ("no reply from", "raise timeout, or lower batch_size")
    ),
    "progress='bar'": Mistake(
        lambda entry: entry.make(OPENAI).documents(["a"], progress="bar"),
        ("progress='bar' is neither True, for a bar, nor a function",),
        ("core",),
    ),
    "a progress that is a coroutine": Mistake(
        lambda entry: entry.make(OPENAI).documents(["a"], progress=asyncio.sleep),
        ("progress is a coroutine function", "pass a plain function"),
        ("core",),
    ),
    "batch_size=0": Mistake(argument("batch_size", 0), ("batch_size=0 is not an integer",)),
    "num_workers=-1": Mistake(
        argument("num_workers", -1), ("num_workers=-1 is not an integer of 1",), ("llama_index",)
    ),
}
OPTIONS = ("model", "batch_size", "extra_body", "timeout")
each = pytest.mark.parametrize(
    ("package", "what"),
    [(package, what) for what, mistake in MISTAKES.items() for package in mistake.packages],
)


def made(entry_point: EntryPoint, what: str) -> BaseException:
    """Make a mistake, and return what was raised."""
    with pytest.raises(Exception) as caught:  # noqa: PT011  (which one is the question)
        MISTAKES[what].do(entry_point)
    return caught.value


@pytest.mark.usefixtures("clock")
@each
def test_a_mistake_is_answered_with_its_culprit_and_a_remedy(
    entry_point: EntryPoint, what: str
) -> None:
    error = made(entry_point, what)
    names = {name: entry_point.field(name) for name in OPTIONS}
    for said in MISTAKES[what].says:
        said = said.replace("{model}", model_of(entry_point))
        for name, typed in names.items():
            said = said.replace(f"{{{name}}}", typed)
        assert said in str(error)
    assert len(str(error)) < 1_300
    assert KEY not in str(error)


def model_of(entry_point: EntryPoint) -> str:
    return "model_name" if entry_point.name == "llama_index" else "model"


@pytest.mark.usefixtures("clock")
@each
def test_a_traceback_has_at_most_two_frames_of_ours(entry_point: EntryPoint, what: str) -> None:
    frames = traceback.extract_tb(made(entry_point, what).__traceback__)
    ours = [f"{frame.filename}:{frame.name}" for frame in frames if frame.filename.startswith(OURS)]
    assert len(ours) <= 2, ours


@pytest.mark.parametrize("what", ["a wrong key", "429 with an hour", "NaN", "refused"])
def test_a_traceback_shows_the_public_name(entry_point: EntryPoint, what: str) -> None:
    error = made(entry_point, what)
    shown, *_ = traceback.format_exception_only(error)  # notes may follow
    assert shown.startswith(f"aimlapi_embeddings.{type(error).__name__}: ")
    assert getattr(aimlapi_embeddings, type(error).__name__) is type(error)


@pytest.mark.parametrize("what", ["NaN", "an ndarray", "a wrong key"])
def test_the_partial_of_every_error_of_a_call_can_be_read(
    entry_point: EntryPoint, what: str
) -> None:
    error: Any = made(entry_point, what)
    assert list(error.partial.vectors) == [None] * len(error.partial)
    assert error.partial.array().shape == (len(error.partial), error.partial.array().shape[1])


def test_a_bad_text_leaves_a_place_for_each_text_in_partial(entry_point: EntryPoint) -> None:
    with pytest.raises(InvalidInputError) as caught:
        entry_point.make(OPENAI).documents(["a", "", "b"])
    partial = caught.value.partial
    assert partial is not None
    assert (list(partial.vectors), partial.usage.requests) == ([None] * 3, 0)


TIMEOUTS: list[tuple[Any, tuple[float, float]]] = [
    (7, (7, 7)),
    ((3, 10), (3, 10)),
    (httpx.Timeout(10, connect=3), (3, 10)),
]


@pytest.mark.parametrize(("timeout", "expected"), TIMEOUTS, ids=repr)
def test_a_timeout_may_set_connecting_and_reading_separately(
    entry_point: EntryPoint, timeout: Any, expected: tuple[float, float]
) -> None:
    seen: list[dict[str, float]] = []

    def answer(request: httpx.Request) -> httpx.Response:
        seen.append(request.extensions["timeout"])
        return entry_point.fake_server(request)

    transport = httpx.MockTransport(answer)
    entry_point.make(
        OPENAI,
        timeout=timeout,
        http_client=httpx.Client(transport=transport),
        async_http_client=httpx.AsyncClient(transport=transport),
    ).query("q")
    assert [(each["connect"], each["read"]) for each in seen] == [expected]


@pytest.mark.parametrize("progress", [True, False, None])
def test_progress_may_be_a_bar_or_nothing_in_the_core(
    mode: Any, fake_server: Any, progress: bool | None, capsys: pytest.CaptureFixture[str]
) -> None:
    entry_point = EntryPoint("core", mode, fake_server).make(OPENAI)
    entry_point.documents(["a", "b"], progress=progress)
    assert ("2/2" in capsys.readouterr().err) is (progress is True)
