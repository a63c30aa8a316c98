"""Random replies, options and arguments: every outcome is a result or a documented error.

`pytest tests/faults/test_fuzz.py --hypothesis-profile=long` searches for some minutes.
"""

from __future__ import annotations

import contextlib
import inspect
import math
import pickle
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import httpx
import pytest
from hypothesis import event, example, given
from hypothesis import strategies as st
from pydantic import ValidationError

from aimlapi_embeddings import (
    AIMLAPIError,
    CacheError,
    ConfigurationError,
    EmbeddingsClient,
    emulator,
)
from langchain_aimlapi_embeddings import AIMLAPIEmbeddings, NugenEmbeddings
from llama_index_aimlapi_embeddings import AIMLAPIEmbedding, NugenEmbedding
from tests.support.adapter_classes import NUGEN
from tests.support.entry_points import GOOGLE, KEY, OPENAI, Clock, EntryPoint, FakeServer, Mode
from tests.support.strategies import GOOD, ODD, REPLIES, TEXTS, VALUES, Odd

pytestmark = [
    pytest.mark.timeout(3600),  # of the long profile
    pytest.mark.filterwarnings("ignore:.* is not a model this version knows"),
]


def embed(entry_point: EntryPoint) -> list[list[float]] | AIMLAPIError:
    try:
        return entry_point.documents(TEXTS)
    except AIMLAPIError as error:
        return error


@given(
    replies=st.lists(REPLIES, min_size=1, max_size=3),
    options=st.sampled_from([{}, {"dimensions": 2}]),
)
@example(replies=[emulator.Reply(400, {"x-inference-id": KEY.encode()}, GOOD)], options={})
@example(replies=[emulator.Reply(302, {"location": KEY.encode()}, b"")], options={})
@example(replies=[emulator.Reply(200, {}, KEY.encode())], options={})
@example(replies=[emulator.Reply(400, {}, b"[" * 100_000)], options={})
@example(replies=[emulator.Reply(429, {"retry-after": b"Sun, 99 Nov 99999"}, b"")], options={})
def test_a_reply_of_any_kind_gives_vectors_or_a_documented_error(
    mode: Mode, clock: Clock, replies: list[emulator.Reply], options: dict[str, Any]
) -> None:
    fake_server = FakeServer()
    queue = iter(replies)
    fake_server.answer = lambda request: next(queue, replies[-1])
    entry_point = EntryPoint("core", mode, fake_server).make(OPENAI, max_retries=1, **options)
    outcome = embed(entry_point)
    event(type(outcome).__name__)
    assert entry_point.client.usage.requests == len(fake_server.requests)
    if isinstance(outcome, AIMLAPIError):
        assert KEY not in f"{outcome!s}{outcome!r}{vars(outcome)}"
        assert outcome.partial is not None
        assert len(outcome.partial.vectors) == len(TEXTS)
        copy = pickle.loads(pickle.dumps(outcome))
        assert (type(copy), str(copy)) == (type(outcome), str(outcome))
    else:
        size = options.get("dimensions", len(outcome[0]))
        assert size > 0
        assert [len(vector) for vector in outcome] == [size] * len(TEXTS)
        numbers = [number for vector in outcome for number in vector]
        assert all(type(number) is float and math.isfinite(number) for number in numbers)


# Other names of an option in messages: the name in the core, or an alias.
ALSO: Mapping[str, tuple[str, ...]] = {
    "model_name": ("model",),
    "aimlapi_api_key": ("api_key",),
    "nugen_api_key": ("api_key",),
    "aimlapi_api_base": ("base_url",),
    "nugen_api_base": ("base_url",),
    "api_base": ("base_url",),
    "chunk_size": ("batch_size",),
    "request_timeout": ("timeout",),
    "default_headers": ("headers",),
    "model_kwargs": ("extra_body",),
    "additional_kwargs": ("extra_body",),
    "http_async_client": ("async_http_client",),
}

USUAL: Mapping[Callable[..., Any], dict[str, Any]] = {
    EmbeddingsClient: {"model": GOOGLE, "api_key": KEY},
    AIMLAPIEmbeddings: {"model": GOOGLE, "aimlapi_api_key": KEY},
    NugenEmbeddings: {"model": NUGEN, "nugen_api_key": KEY},
    AIMLAPIEmbedding: {"model_name": GOOGLE, "api_key": KEY},
    NugenEmbedding: {"model_name": NUGEN, "api_key": KEY},
}
REFUSAL = {**dict.fromkeys(USUAL, ValidationError), EmbeddingsClient: ConfigurationError}


@pytest.fixture(autouse=True, scope="module")
def elsewhere(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Work in a folder of its own: a name that is given to `cache` becomes a file."""
    with contextlib.chdir(tmp_path_factory.mktemp("fuzz")):
        yield


WAYS = pytest.mark.parametrize("make", USUAL, ids=lambda make: make.__name__)


def options_of(make: Callable[..., Any]) -> list[str]:
    fields = getattr(make, "model_fields", None)
    return sorted(fields or inspect.signature(make).parameters)


def build(make: Callable[..., Any], options: Mapping[str, object]) -> str | None:
    """Build an object and use it; return the message if building it is refused."""
    fake_server = httpx.Client(transport=httpx.MockTransport(FakeServer()))
    try:
        built = make(**{**USUAL[make], "http_client": fake_server, **options})
    except (REFUSAL[make], CacheError) as error:  # of a file that cannot be made
        return str(error)
    except TypeError as error:
        if (
            str(error) == "embeddings_cache must be of type BaseKVStore"
        ):  # the message of the framework
            return str(error)
        raise
    if "http_client" not in options:  # without the fake server it might connect to the network
        with contextlib.suppress(AIMLAPIError):
            assert len(getattr(built, "client", built).embed(["a", "b"]).vectors) == 2
    return None


def try_one(make: Callable[..., Any], option: str, value: object) -> None:
    """Check that a value of an option is accepted, or that the refusal names the option."""
    said = build(make, {option: value})
    assert said is None or any(name in said for name in (option, *ALSO.get(option, ())))


@WAYS
def test_an_odd_value_is_accepted_or_refused_naming_the_option(
    make: Callable[..., Any], clock: Clock
) -> None:
    for option in options_of(make):
        for value in ODD:
            try_one(make, option, value)


@WAYS
def test_every_option_refuses_an_object_of_an_unknown_type(make: Callable[..., Any]) -> None:
    taken = [option for option in options_of(make) if build(make, {option: Odd()}) is None]
    assert taken in ([], ["callback_manager"])  # a field of the framework, which does not check it


@WAYS
@given(data=st.data())
def test_a_random_value_is_accepted_or_refused_naming_the_option(
    make: Callable[..., Any], clock: Clock, data: st.DataObject
) -> None:
    option = data.draw(st.sampled_from(options_of(make)))
    try_one(make, option, data.draw(VALUES))


@WAYS
@given(data=st.data())
def test_random_values_of_several_options_are_accepted_or_refused(
    make: Callable[..., Any], clock: Clock, data: st.DataObject
) -> None:
    names = data.draw(st.sets(st.sampled_from(options_of(make)), min_size=2, max_size=5))
    build(make, {name: data.draw(VALUES, label=name) for name in sorted(names)})


@WAYS
@given(name=st.text(), value=VALUES)
def test_an_unknown_option_is_refused_by_name(
    make: Callable[..., Any], name: str, value: object
) -> None:
    with pytest.raises(REFUSAL[make]) as caught:
        make(**{**USUAL[make], f"{name}_": value})
    assert any(shown in str(caught.value) for shown in (f"'{name}_'", repr(f"{name}_")))


def ask(entry_point: EntryPoint, texts: Any, options: Mapping[str, Any]) -> None:
    """Embed, and check that there is a vector for each text or an error of ours."""
    with contextlib.suppress(AIMLAPIError):
        assert len(entry_point.documents(texts, **options)) == len(texts)


@pytest.mark.parametrize("argument", ["texts", "titles", "role", "task_type"])
def test_an_odd_argument_of_a_call_is_accepted_or_refused(mode: Mode, argument: str) -> None:
    entry_point = EntryPoint("core", mode, FakeServer()).make()
    for value in ODD:
        for odd in (value, [value], [value, "a"]):
            ask(entry_point, **{"texts": ["a", "b"], "options": {}, **_as(argument, odd)})


def _as(argument: str, value: object) -> dict[str, object]:
    return {"texts": value} if argument == "texts" else {"options": {argument: value}}


@given(
    texts=st.lists(st.text() | VALUES, max_size=4) | VALUES,
    options=st.fixed_dictionaries(
        {},
        optional={
            "titles": st.lists(st.none() | st.text() | VALUES, max_size=4) | VALUES,
            "role": st.sampled_from(["document", "query"]) | VALUES,
            "task_type": VALUES,
        },
    ),
)
def test_random_arguments_of_a_call_are_accepted_or_refused(
    mode: Mode, texts: Any, options: Mapping[str, Any]
) -> None:
    ask(EntryPoint("core", mode, FakeServer()).make(), texts, options)
