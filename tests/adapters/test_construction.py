"""Arguments of the adapters: the names they go by, and what is refused."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ConfigDict, Field, SecretStr, ValidationError

from langchain_aimlapi_embeddings import AIMLAPIEmbeddings, NugenEmbeddings
from llama_index_aimlapi_embeddings import AIMLAPIEmbedding, NugenEmbedding
from tests.support.adapter_classes import ADAPTERS, NUGEN
from tests.support.entry_points import GOOGLE, KEY

ELSEWHERE = "http://127.0.0.1:9"
# The least that each class must be given, by the names of its fields.
REQUIRED: dict[type[Any], dict[str, Any]] = {
    AIMLAPIEmbeddings: {"model": GOOGLE, "aimlapi_api_key": KEY},
    NugenEmbeddings: {"model": NUGEN, "nugen_api_key": KEY},
    AIMLAPIEmbedding: {"model_name": GOOGLE, "api_key": KEY},
    NugenEmbedding: {"model_name": NUGEN, "api_key": KEY},
}


@pytest.mark.parametrize(
    ("cls", "other_name", "field", "value"),
    [
        (AIMLAPIEmbeddings, "api_key", "aimlapi_api_key", SecretStr("another")),
        (AIMLAPIEmbeddings, "base_url", "aimlapi_api_base", ELSEWHERE),
        (AIMLAPIEmbeddings, "timeout", "request_timeout", 7.0),
        (AIMLAPIEmbeddings, "batch_size", "chunk_size", 7),
        (NugenEmbeddings, "api_key", "nugen_api_key", SecretStr("another")),
        (NugenEmbeddings, "base_url", "nugen_api_base", ELSEWHERE),
        (AIMLAPIEmbedding, "model", "model_name", "text-embedding-3-small"),
        (AIMLAPIEmbedding, "base_url", "api_base", ELSEWHERE),
        (NugenEmbedding, "model", "model_name", "qwen3-embedding-8b"),
        (NugenEmbedding, "base_url", "api_base", ELSEWHERE),
    ],
)
def test_a_field_can_be_set_by_its_own_name_and_by_its_alias(
    cls: type[Any], other_name: str, field: str, value: Any
) -> None:
    others = {name: given for name, given in REQUIRED[cls].items() if name != field}
    assert getattr(cls(**others, **{other_name: value}), field) == value
    assert getattr(cls(**others, **{field: value}), field) == value


@pytest.mark.parametrize(
    ("cls", "arguments", "message"),
    [
        (cls, {**REQUIRED[cls], **wrong}, message)
        for cls, wrong, message in [
            (AIMLAPIEmbeddings, {"apikey": KEY}, "no argument 'apikey'; did you mean 'api_key'?"),
            (AIMLAPIEmbedding, {"apikey": KEY}, "no argument 'apikey'; did you mean 'api_key'?"),
            (AIMLAPIEmbeddings, {"dimension": 8}, "did you mean 'dimensions'?"),
            (AIMLAPIEmbedding, {"batchsize": 8}, "did you mean 'batch_size'?"),
            (AIMLAPIEmbeddings, {"model_name": GOOGLE}, "no argument 'model_name'"),
            (AIMLAPIEmbedding, {"embed_batch_size": 0}, "embed_batch_size=0 is not an integer"),
            (
                AIMLAPIEmbeddings,
                {"api_key": KEY},
                "'aimlapi_api_key' and 'api_key' are names of one argument",
            ),
            (
                AIMLAPIEmbeddings,
                {"chunk_size": 1, "batch_size": 1},
                "'chunk_size' and 'batch_size' are names of one argument",
            ),
            (
                AIMLAPIEmbedding,
                {"model": GOOGLE},
                "'model_name' and 'model' are names of one argument",
            ),
            (
                AIMLAPIEmbedding,
                {"api_base": "x", "base_url": "x"},
                "'api_base' and 'base_url' are names of one argument",
            ),
        ]
    ]
    + [
        (AIMLAPIEmbeddings, {"api_key": KEY}, "model is missing. There is no default"),
        (AIMLAPIEmbedding, {"api_key": KEY}, "model_name is missing. There is no default"),
    ],
)
def test_wrong_arguments_are_refused_by_name_without_their_values(
    cls: type[Any], arguments: dict[str, Any], message: str
) -> None:
    with pytest.raises(ValidationError) as caught:
        cls(**arguments)
    assert message in str(caught.value)
    assert KEY not in str(caught.value)


@pytest.mark.parametrize(
    ("base", "field"), [(AIMLAPIEmbeddings, "model"), (AIMLAPIEmbedding, "model_name")]
)
def test_a_subclass_may_name_its_model(base: type[Any], field: str) -> None:
    namespace = {"__annotations__": {field: str}, field: GOOGLE, "__module__": __name__}
    ours = type("Ours", (base,), namespace)
    assert getattr(ours(api_key=KEY), field) == ours(api_key=KEY).client.model.id == GOOGLE
    other = "text-embedding-3-small"
    assert ours(api_key=KEY, **{field: other}).client.model.id == other
    with pytest.raises(ValidationError, match="is missing"):
        base(api_key=KEY)


def subclass(base: type[Any], **fields: Any) -> type[Any]:
    """Make a subclass that declares these fields anew, each with a default."""
    annotations = dict.fromkeys(fields, Any)
    return type("Ours", (base,), {"__annotations__": annotations, "__module__": __name__, **fields})


@pytest.mark.parametrize("factory", [False, True], ids=["default", "default_factory"])
@pytest.mark.parametrize("base", ADAPTERS, ids=lambda cls: cls.__name__)
def test_a_default_of_a_subclass_stands_before_a_variable(
    base: type[Any], factory: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else its key would go to another host, or another account pay."""
    key, url = base._options["api_key"], base._options["base_url"]
    provider = base._provider.upper()
    monkeypatch.setenv(f"{provider}_API_KEY", "of-the-variable")
    monkeypatch.setenv(f"{provider}_API_BASE", "https://variable.example/v1")
    defaults = {key: SecretStr(KEY), url: "https://subclass.example/v1"}
    made = {name: Field(default_factory=lambda v=v: v) for name, v in defaults.items()}
    model = {base._options["model"]: NUGEN if provider == "NUGEN" else GOOGLE}
    ours = subclass(base, **(made if factory else defaults))(**model)
    assert getattr(ours, key).get_secret_value() == KEY
    assert getattr(ours, url) == "https://subclass.example/v1"
    without = subclass(base, **{key: None, url: None})(**model)
    assert getattr(without, key).get_secret_value() == "of-the-variable"
    assert getattr(without, url) == "https://variable.example/v1"


def test_an_alias_that_a_subclass_lost_is_not_suggested() -> None:
    ours = subclass(AIMLAPIEmbeddings, aimlapi_api_key=SecretStr(KEY))
    with pytest.raises(ValidationError, match="'api_key'; it is called 'aimlapi_api_key' here"):
        ours(model=GOOGLE, api_key=KEY)


@pytest.mark.parametrize("base", ADAPTERS, ids=lambda cls: cls.__name__)
def test_a_subclass_may_ignore_arguments_that_are_not_known(base: type[Any]) -> None:
    tolerant = type("Ours", (base,), {"model_config": ConfigDict(extra="ignore")})
    model = {base._options["model"]: NUGEN if base._provider == "nugen" else GOOGLE}
    given = {**model, "api_key": KEY, "tenant": "x"}
    assert tolerant(**given) == tolerant.model_validate(given) == tolerant(**model, api_key=KEY)
    with pytest.raises(ValidationError, match="has no argument 'tenant'"):
        base(**given)
