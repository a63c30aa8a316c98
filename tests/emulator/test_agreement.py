"""The core sends exactly what the strict emulator accepts; both follow the published schemas."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import pytest
from hypothesis import event, given
from hypothesis import strategies as st

from aimlapi_embeddings import ConfigurationError, Model, TaskType, emulator, supported_models
from aimlapi_embeddings._catalog.families import FAMILIES
from tests.support.entry_points import MODES, EntryPoint, FakeServer, Mode

pytestmark = [
    pytest.mark.filterwarnings("ignore:.*left the list:UserWarning"),
    pytest.mark.filterwarnings("ignore:emulated/of-tomorrow is not a model:UserWarning"),
]

UNKNOWN = "emulated/of-tomorrow"
ROWS: dict[str, Model] = {
    name: row for row in supported_models() for name in (row.id, *row.aliases)
}
# Most characters of a text that every vendor of a family accepts, including a prefix.
LONGEST = {"bge": 400, "google": 2000, "m2-bert": 2900, "voyage": 7900}
PREFIXES = st.text(max_size=10)


@dataclass(frozen=True)
class Order:
    """One call of the core, with the options of its client."""

    model: str
    options: dict[str, Any]
    role: str
    texts: list[str]
    titles: list[str | None] | None

    @property
    def provider(self) -> str:
        return ROWS[self.model].family.provider if self.model in ROWS else "aimlapi"


def long_texts(longest: int) -> st.SearchStrategy[str]:
    return st.integers(1, longest).map(lambda size: ("word " * longest)[:size])


@st.composite
def orders(draw: st.DrawFn) -> Order:
    """Draw options that fit the model, and sometimes one that does not."""
    daring = draw(st.integers(0, 5)) == 0

    def one_of(fitting: Iterable[Any], others: Iterable[Any]) -> Any:
        return draw(st.sampled_from([None, *fitting, *(others if daring else ())]))

    model = draw(st.sampled_from([*ROWS, UNKNOWN]))
    row = ROWS.get(model)
    family = row.family if row else FAMILIES["generic"]
    role = draw(st.sampled_from(["document", "query"]))
    longest = LONGEST.get(family.name, 8000)
    text = st.text(min_size=1, max_size=30) | long_texts(longest)
    texts = draw(st.lists(text, min_size=1, max_size=12))
    options = {
        "dimensions": one_of(row.dimensions[:4096] if row else range(1, 3073), range(1, 3073)),
        "task_type": one_of([*family.tasks, TaskType.NONE], TaskType),
        "too_long": one_of(family.too_long, ["error", "truncate"]),
        "encoding_format": one_of(family.encoding_formats, ["float", "base64"]) or "auto",
        "batch_size": draw(st.none() | st.integers(1, 300)),
    }
    if options["task_type"] != TaskType.NONE:
        options |= draw(st.fixed_dictionaries({}, optional={f"{role}_prefix": PREFIXES}))
    titles = None
    if family.title_field and (role == "document" or daring) and draw(st.booleans()):
        title = st.none() | st.sampled_from(["A title", "Ein anderer"])
        titles = draw(st.lists(title, min_size=len(texts), max_size=len(texts)))
    return Order(model, options, role, texts, titles)


def replies_to(order: Order, mode: Mode) -> tuple[FakeServer, list[emulator.Reply]]:
    """Make the calls of an order on the strict emulator; raises if the core refuses it."""
    fake_server, replies = FakeServer(), []

    def answer(request: emulator.Request) -> emulator.Reply:
        replies.append(emulator.answer(request, strict=True))
        return replies[-1]

    fake_server.answer = answer
    entry_point = EntryPoint("core", mode, fake_server).make(
        order.model, provider=order.provider, max_retries=0, **order.options
    )
    call: dict[str, Any] = {"role": order.role, "titles": order.titles}
    if mode == "sync":
        result = entry_point.client.embed(order.texts, **call)
    else:
        result = asyncio.run(entry_point.client.aembed(order.texts, **call))
    assert len(result.vectors) == len(order.texts)
    return fake_server, replies


@given(order=orders())
def test_the_strict_emulator_accepts_every_body_of_the_core(order: Order) -> None:
    try:
        sent = [replies_to(order, mode) for mode in MODES]
    except ConfigurationError:
        event("refused by the core")
        return
    event("sent")
    for _, replies in sent:
        assert [(reply.status, reply.body[:300]) for reply in replies if reply.status != 200] == []
    sync, in_tasks = (
        sorted(request.body for request in fake_server.requests) for fake_server, _ in sent
    )
    assert sync == in_tasks


@pytest.mark.parametrize("model", [*ROWS, UNKNOWN])
def test_every_model_is_sent_a_request_with_every_fitting_option(model: str) -> None:
    """Makes sure that the property above is not vacuous."""
    row = ROWS.get(model)
    for role in ("document", "query"):
        for too_long in (None, *(row.family.too_long if row else ())):
            for task in (None, TaskType.NONE, *(row.family.tasks if row else ())):
                options = {"too_long": too_long, "task_type": task}
                for mode in MODES:
                    _, replies = replies_to(Order(model, options, role, ["a"], None), mode)
                    assert [reply.status for reply in replies] == [200]


def ask(order: Order, **fields: Any) -> emulator.Reply:
    """Send a body to the emulator directly."""
    path = {"aimlapi": "/v1/embeddings", "nugen": "/api/v3/inference/embeddings"}[order.provider]
    body = json.dumps({"model": order.model, "input": order.texts[0], **fields}).encode()
    return emulator.answer(emulator.Request("POST", path, {"authorization": "Bearer k"}, body))


VALUES = {
    "dimensions": st.integers(-1, 4096),
    "task_type": st.sampled_from([task.value for task in TaskType if task is not TaskType.NONE]),
    "encoding_format": st.sampled_from(["float", "base64"]),
}


@given(data=st.data(), model=st.sampled_from(list(ROWS)), field=st.sampled_from(sorted(VALUES)))
def test_the_core_accepts_exactly_the_options_that_the_emulator_accepts(
    data: st.DataObject, model: str, field: str
) -> None:
    value = data.draw(VALUES[field])
    order = Order(model, {field: value}, "document", ["a"], None)
    taken = ask(order, **{field: value}).status == 200
    try:
        replies_to(order, "sync")
        offered = True
    except ConfigurationError:
        offered = False
    assert offered == taken


WRONG: tuple[tuple[str, Any], ...] = (
    *(("model", value) for value in ("no-such-model", None, 1, ["a"])),
    *(("input", value) for value in (None, 1, {}, "", [], [1], [None], [["a"]], [[1, 2]], True)),
    *(("dimensions", value) for value in (0, -1, 1.5, "8", True, [8], 5000)),
    *(("encoding_format", value) for value in ("hex", None, 1, True)),
    *(("task_type", value) for value in ("QUERY", "retrieval_query", None, 1)),
    *(("input_type", value) for value in ("query", None, 1)),
    *(("title", value) for value in (1, None, ["a title"])),
    *(("auto_truncate", value) for value in ("true", None, 1)),
    *(("test", value) for value in ("", {"errorStatus": 200}, {"credits": -1})),
    *(("user", value) for value in ("me", None)),
)


@given(
    order=orders(),
    wrong=st.sampled_from(WRONG),
    shape=st.sampled_from(["problem", "documented"]),
    data=st.data(),
)
def test_a_body_with_one_wrong_field_is_refused_with_a_documented_error_body(
    order: Order, wrong: tuple[str, Any], shape: Any, data: st.DataObject
) -> None:
    try:
        fake_server, _ = replies_to(order, "sync")
    except ConfigurationError:
        return
    field, value = wrong
    request = data.draw(st.sampled_from(fake_server.requests))
    body = {**json.loads(request.body), field: value}
    refused = request._replace(body=json.dumps(body).encode())
    check_refusal(order.provider, emulator.answer(refused, error_shape=shape), field, shape)


FIELDS = {
    "problem": {"title", "status", "message", "instance", "requestId", "timestamp", "error"},
    "documented": {"message", "path", "requestId", "statusCode", "timestamp"},
}
CONTENT_TYPES = {
    "problem": "application/problem+json; charset=utf-8",
    "documented": "application/json; charset=utf-8",
}


def check_refusal(provider: str, reply: emulator.Reply, field: str, shape: str) -> None:
    said = json.loads(reply.body)
    if provider == "nugen":
        assert (reply.status, reply.headers["content-type"]) == (422, "application/json")
        [problem] = said["detail"]
        assert problem.keys() == {"loc", "msg", "type"}
        assert problem["loc"][:2] == ["body", field]
        return
    assert (reply.status, reply.headers["content-type"]) == (400, CONTENT_TYPES[shape])
    assert said.keys() == FIELDS[shape]
    first, second = said["message"].split("\n")
    assert first == "Body validation error!"
    assert second.partition(":")[0].partition(".")[0] == field


@pytest.mark.parametrize("model", [*ROWS, UNKNOWN])
def test_the_emulator_accepts_no_wrong_field_for_any_model(model: str) -> None:
    order = Order(model, {}, "document", ["a"], None)
    for field, value in WRONG:
        check_refusal(order.provider, ask(order, **{field: value}), field, "problem")
