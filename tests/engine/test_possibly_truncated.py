"""A provider that cuts long texts without saying so: we say it."""

from __future__ import annotations

import logging
import warnings
from typing import Any

import pytest

from aimlapi_embeddings import RequestTooLargeError
from tests.support.entry_points import GOOGLE, OPENAI, EntryPoint, FakeServer, Mode

LONG = "word " * 3_000  # about 5,000 tokens by our estimate; Google's models take 2,048
ALSO_LONG = f"{LONG}with another end"
TEXTS = ["a", LONG, "b", LONG, ALSO_LONG]


def result(entry_point: EntryPoint, texts: list[str], **options: Any) -> Any:
    client = entry_point.client
    call = client.embed if entry_point.mode == "sync" else client.aembed
    return entry_point.wait(call(texts, **options))


@pytest.fixture
def core(mode: Mode, fake_server: FakeServer) -> EntryPoint:
    return EntryPoint("core", mode, fake_server)


def test_texts_that_may_be_cut_are_warned_of_once_for_each_client(entry_point: EntryPoint) -> None:
    entry_point.make(GOOGLE)
    with pytest.warns(UserWarning, match=r"^3 texts are longer than") as seen:
        _ = [entry_point.documents(texts) for texts in (TEXTS, TEXTS, [LONG])]
    assert len(seen) == 1
    said = str(seen[0].message)
    assert "texts[1], the first, has about 5,001 tokens of 2,048" in said
    assert 'too_long="error"' in said
    assert 'too_long="truncate"' in said
    assert "word word" not in said


def test_a_warning_points_at_the_line_of_the_caller(core: EntryPoint) -> None:
    core.make(GOOGLE)
    if core.mode == "sync":
        with pytest.warns(UserWarning, match="longer than") as seen:
            core.client.embed([LONG])
        assert seen[0].filename == __file__
    else:

        async def call() -> None:
            await core.client.aembed([LONG])

        with pytest.warns(UserWarning, match="longer than") as seen:
            core.wait(call())
        assert seen[0].filename == __file__


@pytest.mark.parametrize("level", [logging.WARNING, logging.INFO], ids=logging.getLevelName)
def test_each_call_is_logged_with_their_number_and_at_info_with_each_of_them(
    entry_point: EntryPoint, caplog: pytest.LogCaptureFixture, level: int
) -> None:
    caplog.set_level(level, "aimlapi_embeddings.catalog")
    entry_point.make(GOOGLE)
    with pytest.warns(UserWarning, match="longer than"):
        entry_point.documents(TEXTS)
    entry_point.documents(TEXTS)
    all_of_them = (
        logging.WARNING,
        "3 texts are longer than text-multilingual-embedding-002 takes and may be cut: "
        "the first at 1, about 5001 tokens of 2048",
    )
    each = [
        (logging.INFO, f"text {place} may be cut: about {tokens} tokens of 2048")
        for place, tokens in ((1, 5001), (3, 5001), (4, 5006))
    ]
    said = [(record.levelno, record.getMessage()) for record in caplog.records]
    assert said == 2 * [all_of_them, *(each if level == logging.INFO else [])]
    assert "word" not in caplog.text


def test_the_result_lists_them_repeated_texts_too(core: EntryPoint) -> None:
    core.make(GOOGLE)
    with pytest.warns(UserWarning, match="longer than"):
        assert result(core, TEXTS).possibly_truncated == (1, 3, 4)
    assert result(core, ["a", "b"]).possibly_truncated == ()


@pytest.mark.parametrize(
    "options", [{"too_long": "truncate"}, {"extra_body": {"auto_truncate": True}}], ids=repr
)
def test_whoever_asks_for_the_cut_is_not_warned_but_the_result_lists_the_texts(
    core: EntryPoint, options: dict[str, Any]
) -> None:
    core.make(GOOGLE, **options)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert result(core, TEXTS).possibly_truncated == (1, 3, 4)


def test_with_too_long_error_such_a_text_is_refused_by_the_server(core: EntryPoint) -> None:
    with pytest.raises(RequestTooLargeError) as caught:
        result(core.make(GOOGLE, too_long="error"), TEXTS)
    assert caught.value.indices == (1, 3, 4)


def test_an_extra_field_that_asks_for_an_error_counts_like_the_option(core: EntryPoint) -> None:
    core.make(GOOGLE, extra_body={"auto_truncate": False})
    with pytest.raises(RequestTooLargeError):  # warnings are errors too, of another class
        result(core, TEXTS)


def test_a_provider_that_refuses_long_texts_is_not_suspected(core: EntryPoint) -> None:
    # 5,000 tokens are within OpenAI's limit.
    assert result(core.make(OPENAI), TEXTS).possibly_truncated == ()


def test_a_client_that_goes_on_for_another_does_not_repeat_the_warning(
    mode: Mode, fake_server: FakeServer
) -> None:
    entry_point = EntryPoint("langchain", mode, fake_server).make(GOOGLE)
    with pytest.warns(UserWarning, match="longer than"):
        entry_point.documents([LONG])
    entry_point.embedder.max_retries = 3
    entry_point.documents([LONG])
