"""Options are checked against the model and against each other."""

from __future__ import annotations

import math
from collections.abc import Callable
from enum import IntEnum
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from aimlapi_embeddings import ConfigurationError, TaskType
from aimlapi_embeddings._catalog.families import FAMILIES, MODELS, Family, Model
from aimlapi_embeddings._catalog.models import names
from aimlapi_embeddings._protocol.options import (
    check_amount,
    check_dimensions,
    check_encoding_format,
    check_extra_body,
    check_headers,
    check_integer,
    check_prefix,
    check_seconds,
    check_task_type,
    check_timeout,
    check_too_long,
)

NOW = "text-embedding-3-small"


def refused(check: Callable[..., object], *arguments: Any, **options: Any) -> str:
    """Return the message of the refusal."""
    with pytest.raises(ConfigurationError) as caught:
        check(*arguments, **options)
    return str(caught.value)


def row(id: str) -> Model:
    return next(model for model in MODELS if id in names(model))


@pytest.mark.parametrize(
    ("model", "dimensions"),
    [
        (NOW, 1), (NOW, 1536), ("voyage-2", None), ("text-embedding-v4", 2048),
        ("nugen-flash-embed", 2**31 - 1), ("text-multilingual-embedding-002", 768),
    ],
)  # fmt: skip
def test_a_size_that_the_model_has_is_accepted(model: str, dimensions: int | None) -> None:
    assert check_dimensions(row(model), dimensions) == dimensions


@pytest.mark.parametrize(
    ("model", "dimensions", "remedy"),
    [
        (NOW, 0, f"dimensions=0 is not a size of {NOW}, which takes 1 to 1536."),
        (NOW, 1537, "which takes 1 to 1536."),
        (NOW, -1, "which takes 1 to 1536."),
        (NOW, True, "dimensions=True is not a size"),
        (NOW, 256.0, "dimensions=256.0 is not a size"),
        (NOW, "256", "dimensions='256' is not a size"),
        ("text-embedding-v3", 100, "which takes 64, 128, 256, 512, 768, 1024."),
        ("nugen-flash-embed", 0, "which takes any positive integer."),
        ("voyage-2", 1024, "voyage-2 gives vectors of 1024 only; dimensions=1024 is not possible"),
        ("text-embedding-ada-002", 512, "gives vectors of 1536 only;"),
    ],
)
def test_a_size_that_the_model_does_not_have_is_refused_with_its_sizes(
    model: str, dimensions: Any, remedy: str
) -> None:
    assert remedy in refused(check_dimensions, row(model), dimensions)


@pytest.mark.parametrize("task", [*TaskType, "clustering", "none"])
def test_google_accepts_every_task_type_in_any_case(task: str) -> None:
    assert check_task_type(FAMILIES["google"], task) == task.upper()


@pytest.mark.parametrize("family", FAMILIES.values(), ids=lambda family: family.name)
def test_every_family_accepts_task_type_none(family: Any) -> None:
    assert check_task_type(family, "NONE") is TaskType.NONE
    assert check_task_type(family, None) is None


@pytest.mark.parametrize("family", sorted(FAMILIES.keys() - {"google"}))
def test_a_task_type_is_refused_for_a_family_without_task_types_naming_those_that_have(
    family: str,
) -> None:
    said = refused(check_task_type, FAMILIES[family], "clustering")
    assert said.startswith(f"task_type='CLUSTERING' is not possible for the family {family!r}")
    assert said.endswith("google has. Leave it out, or use 'NONE' to send no role at all.")


@pytest.mark.parametrize(
    ("task", "meant"),
    [
        ("cluster", "CLUSTERING"),
        ("RETRIEVAL_DOC", "RETRIEVAL_DOCUMENT"),
        (5, ""),
        ([], ""),
        ("", ""),
    ],
)
def test_an_unknown_task_type_is_refused_with_the_nearest_name(task: Any, meant: str) -> None:
    said = refused(check_task_type, FAMILIES["google"], task)
    assert said.startswith(f"task_type={task!r} is not one of 'RETRIEVAL_DOCUMENT', ")
    suggested = f"; did you mean {meant!r}?" if meant else "."
    assert said.endswith(f"'FACT_VERIFICATION', 'NONE'{suggested}")


@pytest.mark.parametrize("task", ["NONSENSE", "none at all", "NON", "nil", ""])
def test_task_type_none_is_never_suggested(task: str) -> None:
    said = refused(check_task_type, FAMILIES["google"], task)
    assert "did you mean 'NONE'" not in said


@pytest.mark.parametrize("family", sorted(FAMILIES.keys() - {"google"}))
def test_an_unknown_task_type_is_refused_for_a_family_without_task_types(family: str) -> None:
    said = refused(check_task_type, FAMILIES[family], "NONSENSE")
    assert said == (
        f"task_type='NONSENSE' is not possible for the family {family!r}, which has no task types; "
        "google has. Leave it out."
    )


@pytest.mark.parametrize(
    ("family", "asked", "sent"),
    [
        ("openai", "auto", "base64"), ("openai", "float", "float"), ("openai", "base64", "base64"),
        ("generic", "auto", None), ("generic", "base64", "base64"),
        ("google", "auto", None), ("nugen", "auto", None),
    ],
)  # fmt: skip
def test_the_encoding_format_defaults_to_that_of_the_family(
    family: str, asked: str, sent: str | None
) -> None:
    assert check_encoding_format(FAMILIES[family], asked) == sent


@pytest.mark.parametrize("asked", ["float", "base64"])
@pytest.mark.parametrize("family", ["google", "voyage", "bge", "m2-bert", "qwen", "nugen"])
def test_an_encoding_format_is_refused_for_a_family_without_the_field(
    family: str, asked: str
) -> None:
    said = refused(check_encoding_format, FAMILIES[family], asked)
    assert said.endswith(f"{family!r}, which has no such field. Leave it at 'auto'.")


def test_an_unknown_encoding_format_is_refused_with_the_nearest_name() -> None:
    said = refused(check_encoding_format, FAMILIES["openai"], "base-64")
    assert said.endswith("is not one of 'auto', 'float', 'base64'; did you mean 'base64'?")


@pytest.mark.parametrize("family", FAMILIES.values(), ids=lambda family: family.name)
@pytest.mark.parametrize("too_long", ["error", "truncate", None])
def test_every_family_accepts_every_value_of_too_long(family: Family, too_long: str | None) -> None:
    assert check_too_long(family, too_long) == too_long


def test_an_unknown_value_of_too_long_is_refused_with_the_nearest_one() -> None:
    said = refused(check_too_long, FAMILIES["google"], "truncated")
    assert (
        said == "too_long='truncated' is not one of 'error', 'truncate'; did you mean 'truncate'?"
    )


@pytest.mark.parametrize(
    "value", [0, -1, True, False, 1.0, "1", None, math.nan, math.inf, [1], np.True_]
)
def test_a_value_that_is_no_integer_or_below_the_least_is_refused_by_name(value: Any) -> None:
    said = f"batch_size={value!r} is not an integer of 1 or more."
    assert refused(check_integer, "batch_size", value, 1) == said


class Small(IntEnum):
    TWO = 2


INTEGERS = [1, 10**30, np.int64(256), np.uint8(7), np.int32(1), Small.TWO]


@pytest.mark.parametrize("value", INTEGERS, ids=repr)
def test_integers_of_any_type_become_plain_ones(value: Any) -> None:
    taken = check_integer("max_retries", value, 1)
    assert (taken, type(taken)) == (int(value), int)


def test_the_least_integer_is_accepted() -> None:
    assert check_integer("max_retries", 0, 0) == 0


@pytest.mark.parametrize("value", [np.int64(256), np.int16(256), np.array(256)], ids=repr)
def test_a_size_may_be_an_integer_of_any_kind(value: Any) -> None:
    taken = check_dimensions(row(NOW), value)
    assert (taken, type(taken)) == (256, int)


@pytest.mark.parametrize("value", [True, np.True_, np.float64(256), np.array([256, 256])])
def test_a_size_that_is_no_integer_is_refused(value: Any) -> None:
    assert "is not a size of" in refused(check_dimensions, row(NOW), value)


def test_a_timeout_of_none_is_left_to_the_http_client() -> None:
    assert check_timeout(None) is None
    assert check_timeout(5) == 5.0
    assert refused(check_timeout, 0) == "timeout=0 is not a positive number of seconds."


NO_SECONDS = [-1, -0.5, True, False, math.nan, math.inf, -math.inf, 1e10, "60", None, []]
HUGE = pytest.param(10**400, id="more than a float holds")


@pytest.mark.parametrize("allow_zero", [False, True])
@pytest.mark.parametrize("value", [*NO_SECONDS, HUGE])
def test_a_value_that_is_no_number_of_seconds_is_refused_by_name(
    value: Any, allow_zero: bool
) -> None:
    said = refused(check_seconds, "timeout", value, allow_zero=allow_zero)
    assert said == f"timeout={value!r} is not a positive number of seconds."


@pytest.mark.parametrize("number", [np.float32(0.5), np.float16(0.5), np.int8(5), Fraction(1, 2)])
def test_numbers_of_other_kinds_are_read_without_a_warning(number: Any) -> None:
    assert check_amount("max_usd", number) == check_seconds("timeout", number) == float(number)


@pytest.mark.parametrize("value", [0, -1, True, math.nan, math.inf, [], "60", "1$"])
def test_a_value_that_is_no_amount_is_refused_by_name_and_a_string_as_one(value: Any) -> None:
    said = refused(check_amount, "max_usd", value)
    assert said.startswith(f"max_usd={value!r} is not a positive number.")
    assert said.endswith("It is a string: leave out quotes and units.") == isinstance(value, str)


def test_zero_seconds_are_accepted_only_where_allowed() -> None:
    assert check_seconds("max_retry_wait", 0, allow_zero=True) == 0.0
    assert refused(check_seconds, "timeout", 0)


@given(
    st.integers(1, 10**9)
    | st.floats(0, 1e9, exclude_min=True)
    | st.integers(1, 10**9).map(np.int64)
    | st.floats(1, 2, width=32).map(np.float32)
)
def test_positive_seconds_become_a_float(value: float) -> None:
    seconds = check_seconds("timeout", value)
    assert (seconds, type(seconds)) == (value, float)


@pytest.mark.parametrize("prefix", [None, "", "query: ", "日本"])
def test_a_prefix_is_any_text_that_utf_8_can_encode(prefix: str | None) -> None:
    assert check_prefix("query_prefix", prefix, None) == prefix


@pytest.mark.parametrize("prefix", [5, b"q", ["q"], "\ud800"])
def test_a_prefix_that_utf_8_cannot_encode_is_refused_by_name(prefix: Any) -> None:
    said = "query_prefix is not a string that can be sent."
    assert refused(check_prefix, "query_prefix", prefix, None) == said


def test_a_prefix_with_task_type_none_is_refused() -> None:
    said = refused(check_prefix, "document_prefix", "d: ", TaskType.NONE)
    assert said.endswith("leave out document_prefix.")


@pytest.mark.parametrize(
    "headers", [None, {}, {"X-Team": "search"}, {"x_y-z.1": ""}, {"X": "! \t~"}]
)
def test_headers_of_the_user_are_added_to_ours(headers: dict[str, str] | None) -> None:
    joined = check_headers(headers)
    assert joined.pop("User-Agent").startswith("aimlapi-embeddings/")
    assert joined.pop("Content-Type") == "application/json"
    assert joined == (headers or {})


@pytest.mark.parametrize("name", ["User-Agent", "user-agent", "content-type", "CONTENT-TYPE"])
def test_a_header_of_the_user_replaces_ours_in_any_case(name: str) -> None:
    joined = {key.lower(): value for key, value in check_headers({name: "mine"}).items()}
    assert len(joined) == len(check_headers({name: "mine"})) == 2
    assert joined[name.lower()] == "mine"


@pytest.mark.parametrize("name", ["Authorization", "authorization", "AUTHORIZATION"])
def test_an_authorization_header_is_refused_in_any_case(name: str) -> None:
    assert refused(check_headers, {name: "Bearer x"}).endswith("pass api_key instead.")


@pytest.mark.parametrize("name", ["Content-Length", "content-length", "Transfer-Encoding"])
def test_headers_that_describe_the_body_are_refused(name: str) -> None:
    assert refused(check_headers, {name: "3"}) == (
        f"headers cannot hold {name}, which follows from the body."
    )


@pytest.mark.parametrize("name", ["", "a b", "x:y", "é", "X\n", 5, None])
def test_an_invalid_header_name_is_refused_and_shown(name: Any) -> None:
    assert refused(check_headers, {name: "v"}).endswith(f"does not allow: {name!r}.")


@pytest.mark.parametrize(
    "value", ["hidden\nX: 1", "hidden\x00", "hiddén", b"hidden", None, " hidden", "hidden\t", " "]
)
def test_an_invalid_header_value_is_refused_and_not_shown(value: Any) -> None:
    said = refused(check_headers, {"X-Token": value})
    assert said == "headers has a value for 'X-Token' that HTTP does not allow."


@pytest.mark.parametrize("given", [[], "x", [("a", "b")], 5])
def test_headers_and_extra_body_must_be_mappings(given: Any) -> None:
    assert "is not a mapping" in refused(check_headers, given)
    assert refused(check_extra_body, given) == "extra_body is not a mapping."


@pytest.mark.parametrize("extra", [{}, {"user": "u"}, {"dimensions": 5, "x": [None, {"y": 1.5}]}])
def test_extra_body_accepts_any_json(extra: dict[str, Any]) -> None:
    assert check_extra_body(extra) == extra


def test_no_extra_body_adds_nothing() -> None:
    assert check_extra_body(None) == {}


@pytest.mark.parametrize(
    ("extra", "ours"),
    [
        ({"model": "m"}, "model"),
        ({"input": []}, "input"),
        ({"model": 1, "input": 1}, "input and model"),
    ],
)
def test_model_and_input_in_extra_body_are_refused(extra: dict[str, Any], ours: str) -> None:
    said = refused(check_extra_body, extra)
    assert said.startswith(f"extra_body cannot hold {ours}; leave it out: ")


ENDLESS: list[Any] = []
ENDLESS.append(ENDLESS)


@pytest.mark.parametrize("value", [object(), 1j, "\ud800", {None: 1}, ENDLESS])
def test_extra_body_that_json_cannot_represent_is_refused(value: Any) -> None:
    assert refused(check_extra_body, {"x": value}).startswith(
        "extra_body cannot be written as JSON"
    )
