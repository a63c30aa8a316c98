"""LangChain's standard suites for embeddings; no test is overridden."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, ClassVar

import pytest
from langchain_tests.integration_tests import EmbeddingsIntegrationTests
from langchain_tests.unit_tests import EmbeddingsUnitTests

from aimlapi_embeddings import emulator
from langchain_aimlapi_embeddings import AIMLAPIEmbeddings, NugenEmbeddings
from tests.support.entry_points import GOOGLE, KEY

NUGEN = "nugen-flash-embed"
ELSEWHERE = "http://127.0.0.1:9"


class TestAIMLAPIUnit(EmbeddingsUnitTests):
    @property
    def embeddings_class(self) -> type[AIMLAPIEmbeddings]:
        return AIMLAPIEmbeddings

    @property
    def embedding_model_params(self) -> dict[str, Any]:
        return {"model": GOOGLE, "api_key": KEY}

    @property
    def init_from_env_params(self) -> tuple[dict[str, str], dict[str, Any], dict[str, Any]]:
        return (
            {"AIMLAPI_API_KEY": KEY, "AIMLAPI_API_BASE": ELSEWHERE},
            {"model": GOOGLE},
            {"aimlapi_api_key": KEY, "aimlapi_api_base": ELSEWHERE},
        )


class TestNugenUnit(EmbeddingsUnitTests):
    @property
    def embeddings_class(self) -> type[NugenEmbeddings]:
        return NugenEmbeddings

    @property
    def embedding_model_params(self) -> dict[str, Any]:
        return {"model": NUGEN, "api_key": KEY}

    @property
    def init_from_env_params(self) -> tuple[dict[str, str], dict[str, Any], dict[str, Any]]:
        return (
            {"NUGEN_API_KEY": KEY, "NUGEN_API_BASE": ELSEWHERE},
            {"model": NUGEN},
            {"nugen_api_key": KEY, "nugen_api_base": ELSEWHERE},
        )


@pytest.fixture(scope="class")
def served(request: pytest.FixtureRequest) -> Iterator[None]:
    """The suites read a model's parameters from a property, which fixtures cannot set."""
    with emulator.running() as base_url:
        request.cls.base_url = base_url
        yield


@pytest.mark.usefixtures("served")
class TestAIMLAPIIntegration(EmbeddingsIntegrationTests):
    base_url: ClassVar[str]

    @property
    def embeddings_class(self) -> type[AIMLAPIEmbeddings]:
        return AIMLAPIEmbeddings

    @property
    def embedding_model_params(self) -> dict[str, Any]:
        return {"model": GOOGLE, "api_key": KEY, "base_url": self.base_url}


@pytest.mark.usefixtures("served")
class TestNugenIntegration(EmbeddingsIntegrationTests):
    base_url: ClassVar[str]

    @property
    def embeddings_class(self) -> type[NugenEmbeddings]:
        return NugenEmbeddings

    @property
    def embedding_model_params(self) -> dict[str, Any]:
        return {"model": NUGEN, "api_key": KEY, "base_url": self.base_url}
