"""What tools and people are shown of an adapter: schema, signature, descriptions, names."""

from __future__ import annotations

import inspect
import pydoc
import re
from typing import Any, get_type_hints

import pytest

from aimlapi_embeddings import EmbeddingsClient
from langchain_aimlapi_embeddings import AIMLAPIEmbeddings, NugenEmbeddings, embeddings
from llama_index_aimlapi_embeddings import AIMLAPIEmbedding, NugenEmbedding, base
from tests.support.adapter_classes import ADAPTERS, LANGCHAIN, make

HANDED_OVER = {
    "http_client",
    "http_async_client",
    "async_http_client",
    "rate_limiter",
    "cache",
    "callback_manager",
    "embeddings_cache",
    "default_headers",
}
TYPED: dict[type[Any], Any] = {
    AIMLAPIEmbeddings: embeddings.AIMLAPIOptions,
    NugenEmbeddings: embeddings.NugenOptions,
    AIMLAPIEmbedding: base.EmbeddingOptions,
    NugenEmbedding: base.EmbeddingOptions,
}
# What a framework calls the client's options, beside the names that are the same.
SPELLINGS: dict[str, dict[str, str]] = {
    "langchain": {
        "api_key": "aimlapi_api_key",
        "base_url": "aimlapi_api_base",
        "batch_size": "chunk_size",
        "timeout": "request_timeout",
        "headers": "default_headers",
        "extra_body": "model_kwargs",
        "async_http_client": "http_async_client",
    },
    "llama_index": {
        "model": "model_name",
        "base_url": "api_base",
        "headers": "default_headers",
        "extra_body": "additional_kwargs",
    },
}


@pytest.fixture(params=ADAPTERS)
def cls(request: pytest.FixtureRequest) -> type[Any]:
    adapter: type[Any] = request.param
    return adapter


def names(cls: type[Any]) -> set[str]:
    """All names of all arguments, as pydantic knows them."""
    every = set(cls.model_fields)
    for field in cls.model_fields.values():
        alias = field.validation_alias
        every |= set(getattr(alias, "choices", [alias])) - {None}
    return every


@pytest.mark.parametrize("mode", ["validation", "serialization"])
def test_a_schema_lists_the_options_that_can_be_written_down(cls: type[Any], mode: Any) -> None:
    schema = cls.model_json_schema(mode=mode)
    assert schema["type"] == "object"
    properties = schema.get("properties", {})
    assert not HANDED_OVER & properties.keys()
    if cls in LANGCHAIN or mode == "validation":
        assert {"dimensions", "task_type", "max_retries", "timeout"} <= properties.keys()
        described = {name for name, shown in properties.items() if shown.get("description")}
        assert described | {"class_name"} == properties.keys() | {"class_name"}


def test_each_field_has_a_description_that_help_shows(cls: type[Any]) -> None:
    shown = pydoc.plain(pydoc.render_doc(cls))
    for name, field in cls.model_fields.items():
        assert field.description, name
        assert f"{name}: {' '.join(field.description.split())}" in shown


def test_a_subclass_describes_its_own_fields_too() -> None:
    class Mine(AIMLAPIEmbeddings):
        """A class of a user's."""

        team: str = "search"
        """Who pays."""

    assert Mine(model="voyage-2", api_key="k" * 10).team == "search"
    assert Mine.model_fields["dimensions"].description


def test_the_signature_lists_the_options(cls: type[Any]) -> None:
    signature = inspect.signature(cls)
    assert len(signature.parameters) == len(cls.model_fields)
    assert signature.parameters.keys() <= names(cls)
    assert all(p.kind is inspect.Parameter.KEYWORD_ONLY for p in signature.parameters.values())
    first = next(iter(signature.parameters.values()))
    assert (first.name, first.annotation) in [("model", str), ("model_name", str)]
    assert "Annotated" not in str(signature)
    assert signature.parameters["dimensions"].default is None


def test_type_checkers_are_told_every_name(cls: type[Any]) -> None:
    assert get_type_hints(TYPED[cls]).keys() == names(cls)


@pytest.mark.parametrize(
    ("package", "cls"), [("langchain", AIMLAPIEmbeddings), ("llama_index", AIMLAPIEmbedding)]
)
def test_each_option_of_the_client_is_a_field_with_the_same_default(
    package: str, cls: type[Any]
) -> None:
    """A new option of the client belongs into `OptionFields`, or stands here."""
    embedder, spelling = make(cls), SPELLINGS[package]
    parameters = inspect.signature(EmbeddingsClient).parameters
    for option in parameters.keys() - {"provider", "model", "api_key"}:
        field = cls.model_fields[spelling.get(option, option)]
        default = field.get_default(call_default_factory=True)
        assert default in (None, {}, parameters[option].default), f"{option}: None leaves it out"
    assert embedder.client.identity["model"] == make(cls).client.identity["model"]


# Said with other words: names of variables, `embed_batch_size`, and "the same for documents".
OTHER_WORDS = {"provider", "api_key", "base_url", "batch_size", "document_prefix"}


@pytest.mark.parametrize(
    ("package", "cls"), [("langchain", AIMLAPIEmbeddings), ("llama_index", AIMLAPIEmbedding)]
)
def test_options_are_described_as_the_client_describes_them(package: str, cls: type[Any]) -> None:
    """Word for word; a field may say more."""
    described = client_descriptions()
    assert described.keys() == inspect.signature(EmbeddingsClient).parameters.keys()
    for option in described.keys() - OTHER_WORDS:
        field = flat(cls.model_fields[SPELLINGS[package].get(option, option)].description)
        said = re.sub(r" \((alias `\w+`|`\w+` is accepted too)\)", "", field)
        assert described[option].rstrip(".") in said, option


def client_descriptions() -> dict[str, str]:
    """The arguments in the docstring of the client."""
    text = inspect.cleandoc(str(EmbeddingsClient.__doc__)).partition("Args:\n")[2]
    text = text.partition("\nRaises:")[0]
    entries = re.findall(r"^    (\w+): (.*?)(?=^    \w|\Z)", text, re.M | re.S)
    return {name: flat(said) for name, said in entries}


def flat(text: str | None) -> str:
    return " ".join(str(text).split())
