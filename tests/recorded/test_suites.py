"""LangChain's standard suites for embeddings, replayed from cassettes for each family."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from langchain_core.embeddings import Embeddings
from langchain_tests.integration_tests import EmbeddingsIntegrationTests
from langchain_tests.unit_tests import EmbeddingsUnitTests

from langchain_aimlapi_embeddings import AIMLAPIEmbeddings, NugenEmbeddings
from tests.support.entry_points import KEY
from tests.support.recorded_models import USUAL
from tests.support.scenario import Scenario
from tests.support.scenarios import SCENARIOS

pytestmark = [
    pytest.mark.filterwarnings("ignore:.*left the list:UserWarning"),
    pytest.mark.filterwarnings("ignore:.*longer than:UserWarning"),
    pytest.mark.filterwarnings("ignore:emulated/of-tomorrow is not a model:UserWarning"),
]

ELSEWHERE = "http://127.0.0.1:9"


class _OfFamily:
    """The suites read class and parameters from properties, which fixtures cannot set."""

    family: str
    service: dict[str, Any]

    @property
    def embeddings_class(self) -> type[AIMLAPIEmbeddings | NugenEmbeddings]:
        return NugenEmbeddings if self.family == "nugen" else AIMLAPIEmbeddings

    @property
    def embedding_model_params(self) -> dict[str, Any]:
        usual = USUAL[self.family]
        return {"model": usual.model, **usual.small, **self.service}


class TestUnit(_OfFamily, EmbeddingsUnitTests):
    service = {"api_key": KEY}  # noqa: RUF012  (pytest makes one instance for each test)

    @pytest.fixture(autouse=True, params=USUAL)
    def choose(self, request: pytest.FixtureRequest) -> None:
        self.family = request.param

    @property
    def init_from_env_params(self) -> tuple[dict[str, str], dict[str, Any], dict[str, Any]]:
        name = "nugen" if self.family == "nugen" else "aimlapi"
        given = {"api_key": KEY, "api_base": ELSEWHERE}
        return (
            {f"{name}_{what}".upper(): value for what, value in given.items()},
            {"model": USUAL[self.family].model},
            {f"{name}_{what}": value for what, value in given.items()},
        )


class TestIntegration(_OfFamily, EmbeddingsIntegrationTests):
    # The mark is set for each test, because one test of the suite embeds nothing.
    @pytest.fixture(params=[pytest.param(name, marks=pytest.mark.vcr) for name in USUAL])
    def scenario(self, request: pytest.FixtureRequest) -> Scenario:
        """The scenario whose texts this test of the suite embeds."""
        kind = "documents" if "documents" in request.function.__name__ else "query"
        [scenario] = [s for s in SCENARIOS if str(s) == f"{request.param}/suite_{kind}"]
        return scenario

    @pytest.fixture
    def model(self, scenario: Scenario, service: dict[str, Any]) -> Iterator[Embeddings]:
        """The suite's own fixture does not close the connections; this one does."""
        service = {name: value for name, value in service.items() if "http_client" not in name}
        self.family, self.service = scenario.family, service
        model = self.embeddings_class(**self.embedding_model_params)
        yield model
        model.client.close()
