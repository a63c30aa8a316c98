"""A key of the cache differs exactly if another request would have been sent for the text."""

from __future__ import annotations

import json
import warnings
from itertools import combinations
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aimlapi_embeddings import EmbeddingsClient, Model, VectorCache, emulator, supported_models
from aimlapi_embeddings._catalog.providers import PROVIDERS
from aimlapi_embeddings._protocol.options import Options
from aimlapi_embeddings._protocol.request import CacheKeys, RoleFields, build_body, role_fields
from tests.support.entry_points import GOOGLE, KEY, OPENAI, EntryPoint, FakeServer, Mode

URL = "https://api.aimlapi.com/v1/embeddings"
ROWS = {row.id: row for row in supported_models()}
TEXT = "a text"

# What can be asked of a call, and changes what is sent for the text or where it goes.
DIFFERENT: list[dict[str, Any]] = [
    {},
    {"model": "text-embedding-3-large"},
    {"model": OPENAI},
    {"model": OPENAI, "encoding_format": "float"},
    {"model": OPENAI, "dimensions": 256},
    {"model": "BAAI/bge-base-en-v1.5"},
    {"model": "BAAI/bge-base-en-v1.5", "document_prefix": "find: "},
    {"dimensions": 256},
    {"task_type": "SEMANTIC_SIMILARITY"},
    {"task_type": "CLUSTERING"},
    {"task_type": "NONE"},
    {"document_prefix": "passage: "},
    {"too_long": "truncate"},
    {"too_long": "error"},
    {"extra_body": {"user": "someone"}},
    {"extra_body": {"user": "someone else"}},
    {"base_url": "https://elsewhere.example/v1"},
    {"provider": "nugen", "model": "nugen-flash-embed"},
]
SAME: list[dict[str, Any]] = [
    {"api_key": "sk-another"},
    {"task_type": "RETRIEVAL_DOCUMENT"},
    {"query_prefix": "find: "},  # of queries; the text is a document
    {"batch_size": 3, "max_concurrency": 2, "max_retries": 0, "timeout": 3.0},
    {"headers": {"X-Team": "search"}},
    {"base_url": "https://API.aimlapi.com:443/v1/?secret=1"},
]


def options(**changed: Any) -> Options:
    model = ROWS[changed.pop("model", GOOGLE)]
    provider = PROVIDERS[model.family.provider]
    return Options(**{"id": model.id, "model": model, "provider": provider, "extra_body": {},
                      "batch_size": 100, **changed})  # fmt: skip


def key(asked: Options, role: Any = "document", text: str = TEXT, title: Any = None) -> bytes:
    return CacheKeys(asked, role_fields(asked, role, None), URL).key(text, title)


class Bought:
    """Which requests a set-up pays for, with one cache for all."""

    def __init__(self, fake_server: FakeServer, mode: Mode, path: Path) -> None:
        self.server = fake_server
        self._point = EntryPoint("core", mode, fake_server)
        self._cache = VectorCache(path)

    def __call__(self, *, titles: Any = None, role: str = "document", **made: Any) -> list[float]:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # models that have left the list
            point = self._point.make(cache=self._cache, **made)
        if role == "query":
            return point.query(TEXT)
        return point.documents([TEXT], titles=titles)[0]


@pytest.fixture
def bought(fake_server: FakeServer, mode: Mode, path: Path) -> Bought:
    fake_server.answer = emulator.answer  # any field may be there
    return Bought(fake_server, mode, path)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "vectors.db"


def test_vectors_of_two_set_ups_never_cross(bought: Bought) -> None:
    first = [bought(**made) for made in DIFFERENT]
    assert len(bought.server.requests) == len(DIFFERENT), "each of them is paid for"
    assert [bought(**made) for made in DIFFERENT] == first
    assert len(bought.server.requests) == len(DIFFERENT), "and none of them twice"


@pytest.mark.parametrize("made", SAME, ids=lambda made: ",".join(made))
def test_what_does_not_reach_the_wire_shares_a_vector(bought: Bought, made: dict[str, Any]) -> None:
    assert bought() == bought(**made)
    assert len(bought.server.requests) == 1


def test_roles_titles_and_texts_never_cross(bought: Bought) -> None:
    asked: list[dict[str, Any]] = [{}, {"role": "query"}, {"titles": ["a"]}, {"titles": ["b"]}]
    first = [bought(**each) for each in asked]
    assert len(bought.server.requests) == len(asked)
    assert [bought(**each) for each in asked] == first
    assert len(bought.server.requests) == len(asked)


@pytest.mark.parametrize("model", ROWS.values(), ids=lambda model: model.id)
def test_the_ids_of_one_model_share_a_key(model: Model) -> None:
    keys = {key(options(model=model.id, id=name)) for name in (model.id, *model.aliases)}
    assert len(keys) == 1


def test_models_have_keys_of_their_own() -> None:
    keys = {key(options(model=name)) for name in ROWS}
    assert len(keys) == len(ROWS)


def test_texts_are_not_normalized() -> None:
    texts = ["\u00e9", "e\u0301", "\ufb01", "fi", "a", "A", " a", "a ", "a\n"]
    assert len({key(options(), text=text) for text in texts}) == len(texts)


def test_the_order_of_extra_fields_does_not_matter() -> None:
    one = {"a": {"b": 1, "c": 2}, "d": 3}
    other = {"d": 3, "a": {"c": 2, "b": 1}}
    assert key(options(extra_body=one)) == key(options(extra_body=other))


def test_a_text_that_may_be_cut_by_us_is_keyed_by_that_choice() -> None:
    same_fields = {"model": "text-embedding-3-small"}
    plain, cut = options(**same_fields), options(**same_fields, too_long="truncate")
    sent = RoleFields({}, "")
    assert CacheKeys(plain, sent, URL).key(TEXT) != CacheKeys(cut, sent, URL).key(TEXT)


SETTINGS = st.fixed_dictionaries(
    {
        "model": st.sampled_from([GOOGLE, OPENAI, "BAAI/bge-base-en-v1.5"]),
        "dimensions": st.sampled_from([None, 8, 64]),
        "encoding_format": st.sampled_from([None, "float", "base64"]),
        "query_prefix": st.sampled_from([None, "", "q: "]),
        "document_prefix": st.sampled_from([None, "", "d: "]),
        "extra_body": st.dictionaries(
            st.sampled_from(["user", "dimensions", "task_type"]),
            st.sampled_from([1, 2, "RETRIEVAL_QUERY"]),
            max_size=2,
        ),
    }
)
ASKED = st.tuples(SETTINGS, st.sampled_from(["document", "query"]), st.sampled_from(["a", "d: a"]))


@given(asked=st.lists(ASKED, min_size=2, max_size=6))
def test_two_keys_are_the_same_exactly_if_the_requests_are(asked: list[Any]) -> None:
    """Of each pair, by the bodies that `build_body` writes for the text alone."""
    named = []
    for settings, role, text in asked:
        made = options(**settings)
        sent = role_fields(made, role, None)
        body = build_body(
            made, sent.fields, [sent.prefix + text], None, made.encoding_format, alone=True
        )
        named.append((CacheKeys(made, sent, URL).key(text), json.loads(body)))
    for (one, body), (other, its_body) in combinations(named, 2):
        assert (one == other) == (body == its_body)


def test_a_key_does_not_hold_the_secret_of_a_url(bought: Bought) -> None:
    client = EmbeddingsClient(model=GOOGLE, api_key=KEY, base_url="https://x.example/?key=hunter2")
    assert "hunter2" not in repr(client.identity)
