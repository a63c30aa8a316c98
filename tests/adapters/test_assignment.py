"""Fields of an adapter that are assigned after it was made."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from pydantic import SecretStr, ValidationError, field_validator, model_validator

from aimlapi_embeddings import emulator
from tests.adapters.conftest import PACKAGES
from tests.support.emulator_server import serving
from tests.support.entry_points import GOOGLE, KEY, EntryPoint, FakeServer, Package

FIELDS: dict[str, dict[str, str]] = {
    "langchain": {
        "api_key": "aimlapi_api_key",
        "base_url": "aimlapi_api_base",
        "timeout": "request_timeout",
    },
    "llama_index": {"model": "model_name", "base_url": "api_base"},
}


def test_an_assigned_field_changes_the_next_request(adapter: EntryPoint, embedder: Any) -> None:
    embedder.dimensions = 8
    getattr(embedder, adapter.field("extra_body"))["auto_truncate"] = True
    assert len(adapter.query("q")) == 8
    assert adapter.fake_server.bodies[0]["auto_truncate"] is True


def test_an_assignment_that_changes_no_request_keeps_the_client(
    adapter: EntryPoint, embedder: Any
) -> None:
    client = embedder.client
    setattr(embedder, adapter.field("show_progress"), True)
    embedder.dimensions = embedder.dimensions
    setattr(embedder, FIELDS[adapter.name].get("api_key", "api_key"), SecretStr(KEY))
    assert embedder.client is client
    embedder.max_retries = 1
    assert embedder.client is not client


@pytest.mark.parametrize("name", ["dimension", "base_url"])
def test_assigning_to_a_name_that_is_no_field_is_refused(embedder: Any, name: str) -> None:
    with pytest.raises(ValidationError, match=name):
        setattr(embedder, name, "http://127.0.0.1:9")


def test_the_refusal_of_an_alias_names_its_field(adapter: EntryPoint, embedder: Any) -> None:
    for alias, field in FIELDS[adapter.name].items():
        with pytest.raises(ValidationError, match=f"the field is called '{field}'") as caught:
            setattr(embedder, alias, "a secret value")
        assert "secret" not in str(caught.value)


class NoLimit:
    """A limiter that lets everything through."""

    def acquire(self) -> None: ...

    async def aacquire(self) -> None: ...


REFUSED: list[tuple[str, Any]] = [
    ("model", ""),
    ("dimensions", 100_000),
    ("dimensions", True),
    ("task_type", "nonsense"),
    ("encoding_format", "float16"),
    ("batch_size", 0),
    ("max_concurrency", 0),
    ("max_retries", "many"),
    ("timeout", -1.0),
    ("base_url", "ftp://elsewhere"),
    ("extra_body", {"model": "another"}),
    ("headers", {"Authorization": "another"}),
    ("api_key", "\u00e9"),
    ("http_client", object()),
    ("rate_limiter", object()),
    ("cache", object()),
]


@pytest.mark.parametrize(
    ("option", "value"), REFUSED, ids=lambda v: v if isinstance(v, str) else ""
)
def test_a_refused_assignment_changes_nothing(
    adapter: EntryPoint, embedder: Any, option: str, value: Any
) -> None:
    field = FIELDS[adapter.name].get(option, adapter.field(option))
    before, client = dict(embedder), embedder.client
    fields_set = set(embedder.model_fields_set)
    with pytest.raises(ValidationError):
        setattr(embedder, field, value)
    assert dict(embedder) == before
    assert embedder.model_fields_set == fields_set
    assert embedder.client is client
    assert len(adapter.query("q")) == 768


def test_an_assignment_that_a_validator_of_a_subclass_refuses_changes_nothing(
    adapter: EntryPoint, embedder: Any
) -> None:
    class Strict(type(embedder)):  # type: ignore[misc]
        @model_validator(mode="after")
        def check_retries(self) -> Strict:
            if self.max_retries > 5:
                raise ValueError("too many")
            return self

    strict = Strict(model=GOOGLE, api_key=KEY)
    with pytest.raises(ValidationError, match="too many"):
        strict.max_retries = 6
    assert strict.max_retries == 5


def test_an_assignment_keeps_what_was_spent_so_far(adapter: EntryPoint, embedder: Any) -> None:
    adapter.query("q")
    first = embedder.client
    embedder.dimensions = 8
    adapter.query("q")
    assert embedder.client is not first
    assert embedder.client.usage.requests == 2
    assert first.usage.requests == 2, "whoever looks at the first client sees the same"


@pytest.mark.parametrize(
    ("field", "value"), [("dimensions", 8), ("max_concurrency", 1), ("rate_limiter", NoLimit())]
)
@pytest.mark.parametrize("package", PACKAGES)
def test_an_assignment_keeps_the_bound_while_calls_are_in_flight(
    package: Package, field: str, value: Any
) -> None:
    with serving(together=2, latency=0.05) as (server, base_url), ThreadPoolExecutor(2) as pool:
        adapter = EntryPoint(package, "sync", FakeServer()).make_plain(
            model=GOOGLE, api_key=KEY, base_url=base_url, batch_size=1, max_concurrency=2
        )
        first = pool.submit(adapter.documents, list("abcdef"))
        while not server.requests:
            time.sleep(0.001)
        setattr(adapter.embedder, field, value)
        second = pool.submit(adapter.documents, list("ghijkl"))
        assert [len(call.result()) for call in (first, second)] == [6, 6]
        adapter.client.close()
    assert server.peak_in_flight == 2


def test_true_and_1_are_two_values_of_an_extra_field(adapter: EntryPoint, embedder: Any) -> None:
    field = adapter.field("extra_body")
    adapter.fake_server.answer = lambda request: emulator.answer(request, strict=False)
    for value in (1, True):
        setattr(embedder, field, {"extra": {"nested": value}})
        adapter.query("q")
    getattr(embedder, field)["extra"]["nested"] = 1  # in place
    adapter.query("q")
    sent = [body["extra"]["nested"] for body in adapter.fake_server.bodies]
    assert [type(value) for value in sent] == [int, bool, int]


def test_a_limiter_that_equals_the_last_one_is_still_another(
    adapter: EntryPoint, embedder: Any
) -> None:
    class Counting:
        def __init__(self) -> None:
            self.asked = 0

        def __eq__(self, other: object) -> bool:
            return isinstance(other, Counting)

        __hash__ = None  # type: ignore[assignment]

        def acquire(self) -> None:
            self.asked += 1

        async def aacquire(self) -> None:
            self.asked += 1

    limiters = [Counting(), Counting()]
    for limiter in limiters:
        embedder.rate_limiter = limiter
        adapter.query("q")
        assert embedder.rate_limiter is limiter, "it reads back"
    assert [limiter.asked for limiter in limiters] == [1, 1]


def test_a_copy_with_an_update_embeds_with_it_and_leaves_the_original(
    adapter: EntryPoint, embedder: Any
) -> None:
    adapter.embedder = embedder.model_copy(update={"dimensions": 8})
    assert len(adapter.query("q")) == 8
    adapter.embedder = embedder
    assert len(adapter.query("q")) == 768
    assert [body["model"] for body in adapter.fake_server.bodies] == [GOOGLE] * 2


OTHER_KEY = "sk-another-0123456789abcdef"


def test_the_values_of_a_copys_update_are_read_like_arguments(
    adapter: EntryPoint, embedder: Any
) -> None:
    """A name that people type is taken, a key is hidden, and a number that is a string is read."""
    adapter.embedder = twin = embedder.model_copy(
        update={"api_key": OTHER_KEY, "dimensions": "8", "timeout": (1, 2)}
    )
    assert len(adapter.query("q")) == 8
    assert adapter.fake_server.requests[0].headers["authorization"] == f"Bearer {OTHER_KEY}"
    assert OTHER_KEY not in repr(twin) + str(twin) + twin.model_dump_json()
    assert getattr(twin, FIELDS[adapter.name].get("timeout", "timeout")) == (1, 2)
    adapter.embedder = embedder
    assert len(adapter.query("q")) == 768
    assert adapter.fake_server.requests[1].headers["authorization"] == f"Bearer {KEY}"


def test_the_fields_of_a_copys_update_are_checked_together(
    adapter: EntryPoint, embedder: Any
) -> None:
    update = {"task_type": None, "dimensions": 3072, "model": "text-embedding-3-large"}
    adapter.embedder = embedder.model_copy(update=update, deep=True)
    assert len(adapter.query("q")) == 3072


@pytest.mark.parametrize(
    ("update", "said"),
    [
        ({"dimension": 8}, "no argument 'dimension'; did you mean 'dimensions'"),
        ({"dimensions": 99999}, "99999 is not a size"),
        ({"max_retries": -1}, "max_retries=-1"),
        ({"api_key": OTHER_KEY, "api_kee": OTHER_KEY}, "no argument 'api_kee'"),
    ],
)
def test_a_copys_update_that_cannot_work_is_refused_without_showing_a_key(
    embedder: Any, update: dict[str, Any], said: str
) -> None:
    with pytest.raises(ValidationError, match=said) as caught:
        embedder.model_copy(update=update)
    assert OTHER_KEY not in f"{caught.value}{caught.value.errors()}"
    assert embedder.dimensions is None


def test_a_copy_with_an_update_shares_usage_and_bound(adapter: EntryPoint, embedder: Any) -> None:
    adapter.query("q")
    adapter.embedder = embedder.model_copy(update={"dimensions": 8})
    adapter.query("q")
    assert adapter.client.usage.requests == embedder.client.usage.requests == 2


@pytest.mark.parametrize("deep", [False, True])
def test_a_subclass_keeps_what_is_its_own_in_a_copy_with_an_update(
    adapter: EntryPoint, deep: bool
) -> None:
    base: Any = type(adapter.make().embedder)

    class Mine(base):  # type: ignore[misc]
        team: str = "red"

        def __init__(self, name: str, /, **options: Any) -> None:
            super().__init__(model=name, **options)

    mine = Mine(GOOGLE, api_key=KEY, team="blue")
    twin = mine.model_copy(update={"dimensions": 8}, deep=deep)
    assert (type(twin), twin.team, twin.dimensions) == (Mine, "blue", 8)


def test_a_key_that_was_never_checked_is_not_shown(adapter: EntryPoint) -> None:
    cls: Any = type(adapter.make().embedder)
    field = FIELDS[adapter.name].get("api_key", "api_key")
    made = cls.model_construct(**{field: OTHER_KEY})
    assert OTHER_KEY not in repr(made) + str(made)


def test_an_assignment_leaves_what_another_thread_assigns_meanwhile(
    adapter: EntryPoint, embedder: Any
) -> None:
    """LlamaIndex assigns to a model whenever an index is given it."""
    kind, first = type(embedder), embedder

    class Slow(kind):  # type: ignore[misc,valid-type]
        @field_validator("max_retries")
        @classmethod
        def take_long(cls, value: int) -> int:
            if value == 1:
                with ThreadPoolExecutor(1) as pool:
                    pool.submit(setattr, slow, "dimensions", 8).result()
                    pool.submit(adapter.query, "q").result()
            return value

    clients = {
        name: getattr(first, name)
        for option in ("http_client", "async_http_client")
        if (name := adapter.field(option))
    }
    slow = Slow(model=GOOGLE, api_key=KEY, **clients)
    adapter.embedder = slow
    slow.max_retries = 1
    assert (slow.max_retries, slow.dimensions) == (1, 8)
    assert len(adapter.query("q")) == 8
