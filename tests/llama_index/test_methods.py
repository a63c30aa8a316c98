"""LlamaIndex: its names for the options, its methods in both modes, and its indexes."""

from __future__ import annotations

from typing import Any

import pytest
from llama_index.core import Settings, VectorStoreIndex
from llama_index.core.base.embeddings.base import BaseEmbedding
from llama_index.core.callbacks import CallbackManager
from llama_index.core.schema import MetadataMode, TextNode
from pydantic import SecretStr, ValidationError

from aimlapi_embeddings import APITimeoutError, ConfigurationError, emulator
from llama_index_aimlapi_embeddings import AIMLAPIEmbedding, NugenEmbedding
from tests.support.entry_points import GOOGLE, KEY, OPENAI, EntryPoint, FakeServer, Mode

NUGEN = "nugen-flash-embed"
ELSEWHERE = "http://127.0.0.1:9"
DOCUMENT = {"model": GOOGLE, "task_type": "RETRIEVAL_DOCUMENT"}
QUERY = {"model": GOOGLE, "task_type": "RETRIEVAL_QUERY"}


@pytest.fixture
def llama_index(fake_server: FakeServer, mode: Mode) -> EntryPoint:
    """LlamaIndex's methods in both modes, on the fake server."""
    return EntryPoint("llama_index", mode, fake_server)


@pytest.fixture
def embedding(fake_server: FakeServer) -> AIMLAPIEmbedding:
    embedder: AIMLAPIEmbedding = EntryPoint("llama_index", "sync", fake_server).make().embedder
    return embedder


def nodes() -> list[TextNode]:
    return [
        TextNode(text="The harbour is dredged every spring.", id_="harbour"),
        TextNode(text="Bees dance to tell where the clover is.", id_="bees"),
        TextNode(text="The lighthouse keeper writes a log.", id_="keeper"),
    ]


# Names


@pytest.mark.parametrize(
    ("cls", "name"), [(AIMLAPIEmbedding, "AIMLAPIEmbedding"), (NugenEmbedding, "NugenEmbedding")]
)
def test_classes_are_embeddings_under_their_own_name(cls: type[BaseEmbedding], name: str) -> None:
    assert issubclass(cls, BaseEmbedding)
    assert cls.class_name() == name


@pytest.mark.parametrize(
    ("other", "full", "value"),
    [("model", "model_name", GOOGLE), ("base_url", "api_base", ELSEWHERE)],
)
def test_an_argument_goes_by_langchains_name_too(other: str, full: str, value: str) -> None:
    common = {"api_key": KEY} | ({} if other == "model" else {"model_name": GOOGLE})
    assert getattr(AIMLAPIEmbedding(**common, **{other: value}), full) == value
    assert getattr(AIMLAPIEmbedding(**common, **{full: value}), full) == value


@pytest.mark.parametrize(
    ("cls", "model", "variable"),
    [(AIMLAPIEmbedding, GOOGLE, "AIMLAPI_API_KEY"), (NugenEmbedding, NUGEN, "NUGEN_API_KEY")],
)
@pytest.mark.parametrize("key", [None, ""])
def test_a_missing_key_is_an_error_that_names_the_variable(
    cls: type[Any], model: str, variable: str, key: str | None
) -> None:
    with pytest.raises(ValidationError, match=f"no API key: set {variable}"):
        cls(model_name=model, api_key=key)


@pytest.mark.parametrize(
    ("provider", "model", "prefix"),
    [("aimlapi", GOOGLE, "AIMLAPI"), ("nugen", NUGEN, "NUGEN")],
)
def test_each_provider_reads_its_own_variables(
    llama_index: EntryPoint, provider: str, model: str, prefix: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("AIMLAPI", "NUGEN"):
        monkeypatch.setenv(f"{name}_API_KEY", f"key of {name}")
        monkeypatch.setenv(f"{name}_API_BASE", f"http://{name}.localhost")
    llama_index.make(model, provider=provider, api_key=None).query("q")
    headers = llama_index.fake_server.requests[0].headers
    assert headers["authorization"] == f"Bearer key of {prefix}"
    assert headers["host"] == f"{prefix}.localhost".lower()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"model_name": GOOGLE, "apikey": KEY}, "no argument 'apikey'; did you mean 'api_key'?"),
        ({"model_name": GOOGLE, "api_key": KEY, "batchsize": 8}, "did you mean 'batch_size'?"),
        ({"api_key": KEY}, "model_name\n  Field required"),
        (
            {"model_name": GOOGLE, "model": GOOGLE, "api_key": KEY},
            "'model_name' and 'model' are names of one argument",
        ),
        (
            {"model_name": GOOGLE, "api_key": KEY, "api_base": "x", "base_url": "x"},
            "'api_base' and 'base_url' are names of one argument",
        ),
        ({"model_name": GOOGLE, "api_key": KEY, "embed_batch_size": 0}, "greater than 0"),
    ],
)
def test_wrong_arguments_are_refused_by_name_and_never_by_value(
    arguments: dict[str, Any], said: str
) -> None:
    with pytest.raises(ValidationError) as caught:
        AIMLAPIEmbedding(**arguments)
    assert said in str(caught.value)
    assert KEY not in str(caught.value)


# Options


@pytest.mark.parametrize(
    ("options", "sent"),
    [
        ({"dimensions": 8}, {"dimensions": 8}),
        ({"additional_kwargs": {"auto_truncate": False}}, {"auto_truncate": False}),
        ({"too_long": "error"}, {"auto_truncate": False}),
        ({"task_type": "CLUSTERING"}, {"task_type": "CLUSTERING"}),
        ({"model": OPENAI, "encoding_format": "float"}, {"encoding_format": "float"}),
        ({"document_prefix": "passage: "}, {"input": ["passage: a"]}),
        ({"model": "text-embedding-005", "family": "google"}, {"task_type": "RETRIEVAL_DOCUMENT"}),
    ],
)
def test_options_shape_the_body(
    llama_index: EntryPoint, options: dict[str, Any], sent: dict[str, Any]
) -> None:
    fake_server = llama_index.fake_server
    fake_server.answer = lambda request: emulator.answer(request, strict=False)
    llama_index.make(**options).documents(["a"])
    assert {name: fake_server.bodies[0][name] for name in sent} == sent


def test_default_headers_travel_beside_ours(llama_index: EntryPoint) -> None:
    llama_index.make(default_headers={"X-Team": "search"}).documents(["a"])
    headers = llama_index.fake_server.requests[0].headers
    assert (headers["x-team"], headers["authorization"]) == ("search", f"Bearer {KEY}")


def test_plain_http_leaves_this_machine_only_where_it_is_allowed(llama_index: EntryPoint) -> None:
    with pytest.raises(ValidationError, match="unencrypted"):
        llama_index.make(base_url="http://elsewhere")
    llama_index.make(base_url="http://elsewhere", allow_http=True).query("q")
    assert [r.headers["host"] for r in llama_index.fake_server.requests] == ["elsewhere"]


@pytest.mark.timeout(10)
def test_timeout_bounds_the_wait_for_a_reply(mode: Mode, fake_server: FakeServer) -> None:
    entry_point = EntryPoint("llama_index", mode, fake_server)
    with emulator.running(emulator.Emulator(faults=[emulator.Fault(hang=True)])) as base_url:
        entry_point.make_plain(
            model=GOOGLE, api_key=KEY, base_url=base_url, timeout=0.1, max_retries=0
        )
        with pytest.raises(APITimeoutError):
            entry_point.query("q")
        entry_point.client.close()


# Methods


def call(entry_point: EntryPoint, name: str, *arguments: Any) -> Any:
    """Call a method by the name of its sync form."""
    twin = {"__call__": "acall"}.get(name, f"a{name}")
    method = getattr(entry_point.embedder, name if entry_point.mode == "sync" else twin)
    return entry_point._wait(method(*arguments))


@pytest.mark.parametrize(
    ("name", "argument", "sent"),
    [
        ("get_query_embedding", "q", [QUERY | {"input": ["q"]}]),
        ("get_text_embedding", "a", [DOCUMENT | {"input": ["a"]}]),
        ("get_text_embedding_batch", ["a", "b"], [DOCUMENT | {"input": ["a", "b"]}]),
        ("get_text_embedding_batch", [], []),
        (
            "get_agg_embedding_from_queries",
            ["q", "r"],
            [QUERY | {"input": ["q"]}, QUERY | {"input": ["r"]}],
        ),
    ],
)
def test_each_method_sends_its_role(
    llama_index: EntryPoint, name: str, argument: Any, sent: list[dict[str, Any]]
) -> None:
    call(llama_index.make(), name, argument)
    assert llama_index.fake_server.bodies == sent


def test_an_aggregate_is_the_mean_or_what_is_asked_for(llama_index: EntryPoint) -> None:
    llama_index.make(dimensions=8)
    one, other = llama_index.query("one"), llama_index.query("other")
    mean = call(llama_index, "get_agg_embedding_from_queries", ["one", "other"])
    assert mean == pytest.approx([(a + b) / 2 for a, b in zip(one, other, strict=True)])
    last = call(llama_index, "get_agg_embedding_from_queries", ["one", "other"], lambda all: all[1])
    assert last == other


def test_nodes_are_embedded_with_the_metadata_that_is_meant_for_it(llama_index: EntryPoint) -> None:
    node = TextNode(
        text="It is dredged.",
        metadata={"title": "The harbour", "page": 3},
        excluded_embed_metadata_keys=["page"],
    )
    given = [node, *nodes()]
    assert call(llama_index.make(), "__call__", given) is given
    assert llama_index.fake_server.inputs == [[n.get_content(MetadataMode.EMBED) for n in given]]
    assert llama_index.fake_server.inputs[0][0] == "title: The harbour\n\nIt is dredged."
    alone = llama_index.documents([n.get_content(MetadataMode.EMBED) for n in reversed(given)])
    assert [n.embedding for n in reversed(given)] == alone


# Indexes


def test_an_index_finds_the_nearest(llama_index: EntryPoint) -> None:
    index = VectorStoreIndex(nodes(), embed_model=llama_index.make().embedder)
    retriever = index.as_retriever(similarity_top_k=2)
    retrieve = retriever.retrieve if llama_index.mode == "sync" else retriever.aretrieve
    hits = llama_index._wait(retrieve("Where do bees dance?"))
    assert hits[0].node_id == "bees"
    assert hits[0].score > 2 * hits[1].score
    assert [body["task_type"] for body in llama_index.fake_server.bodies] == [
        "RETRIEVAL_DOCUMENT",
        "RETRIEVAL_QUERY",
    ]


def test_settings_take_the_model(
    embedding: AIMLAPIEmbedding, fake_server: FakeServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Settings, "_callback_manager", None)
    monkeypatch.setattr(Settings, "_embed_model", None)
    client = embedding.client
    Settings.embed_model = embedding
    hits = VectorStoreIndex(nodes()).as_retriever(similarity_top_k=1).retrieve("The harbour?")
    assert [hit.node_id for hit in hits] == ["harbour"]
    assert embedding.callback_manager is Settings.callback_manager
    assert embedding.client is client, "the callback manager is none of the client's business"


# Assignment


def test_an_assigned_field_takes_effect(
    embedding: AIMLAPIEmbedding, fake_server: FakeServer
) -> None:
    embedding.dimensions = 8
    embedding.additional_kwargs["auto_truncate"] = True
    assert len(embedding.get_query_embedding("q")) == 8
    assert fake_server.bodies[0]["auto_truncate"] is True


def test_an_assignment_that_changes_no_request_keeps_the_client(
    embedding: AIMLAPIEmbedding,
) -> None:
    client = embedding.client
    embedding.callback_manager = CallbackManager([])
    embedding.show_progress = True
    embedding.api_key = SecretStr(KEY)
    assert embedding.client is client
    embedding.max_retries = 1
    assert embedding.client is not client


def test_nothing_is_sent_between_a_refused_assignment_and_a_good_one(
    embedding: AIMLAPIEmbedding, fake_server: FakeServer
) -> None:
    with pytest.raises(ValidationError, match="not a size"):
        embedding.dimensions = 100_000
    with pytest.raises(ConfigurationError, match="not a size"):
        embedding.get_query_embedding("q")
    assert fake_server.requests == []
    embedding.dimensions = 8
    assert len(embedding.get_query_embedding("q")) == 8


def test_a_changed_copy_embeds_with_the_change(embedding: AIMLAPIEmbedding) -> None:
    smaller = embedding.model_copy(update={"dimensions": 8})
    sizes = (len(e.get_query_embedding("q")) for e in (smaller, embedding))
    assert tuple(sizes) == (8, 768)
