"""Texts that are longer than a model takes: `too_long` for every family."""

from __future__ import annotations

import json
import logging
import pickle
import unicodedata
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aimlapi_embeddings import (
    BadRequestError,
    EmbeddingsClient,
    InvalidInputError,
    RequestTooLargeError,
    emulator,
)
from aimlapi_embeddings._catalog.families import Model
from aimlapi_embeddings._catalog.models import supported_models
from aimlapi_embeddings._engine.long_texts import Shortener, end_of_words
from aimlapi_embeddings._engine.planning import estimate_tokens
from aimlapi_embeddings._protocol.request import length_of
from tests.support.emulator_server import connected, serving
from tests.support.entry_points import GOOGLE, KEY, OPENAI, EntryPoint, FakeServer, Mode

pytestmark = pytest.mark.filterwarnings(
    "ignore:.*left the list:UserWarning", "ignore:.*is not a model:UserWarning"
)

BGE = "BAAI/bge-base-en-v1.5"
VOYAGE = "voyage-2"
QWEN = "alibaba/qwen-text-embedding-v3"
M2 = "togethercomputer/m2-bert-80M-{}-retrieval"
NUGEN = "nugen-flash-embed"
UNKNOWN = "emulated/of-tomorrow"
MODEL = {model.id: model for model in supported_models()}
BGE_PREFIX = "Represent this sentence for searching relevant passages: "

PROSE = "some words of a long text that has no end and goes on and on "
DENSE = "a b c d e f g h i j k l m n o p "  # a token for each two bytes
MESSAGE = "This model's maximum context length is 512 tokens; the text is too long"


def prose(characters: int) -> str:
    return (PROSE * (characters // len(PROSE) + 1))[:characters]


def result(entry_point: EntryPoint, texts: list[str], **options: Any) -> Any:
    client = entry_point.client
    call = client.embed if entry_point.mode == "sync" else client.aembed
    return entry_point.wait(call(texts, **options))


def refuse_above(entry_point: EntryPoint, most: int, status: int = 400) -> None:
    """Let the server refuse texts of more characters."""
    answer = entry_point.fake_server.answer
    server = emulator.Emulator()
    fault = emulator.Fault(status, body=json.dumps({"message": MESSAGE}).encode())

    def reply(request: emulator.Request) -> emulator.Reply:
        texts = json.loads(request.body)["input"]
        texts = [texts] if isinstance(texts, str) else texts
        if any(len(text) > most for text in texts):
            return server.reply(request, fault)
        return answer(request)

    entry_point.fake_server.answer = reply


@pytest.fixture
def core(mode: Mode, fake_server: FakeServer) -> EntryPoint:
    return EntryPoint("core", mode, fake_server)


# Every family

LONG = [
    (OPENAI, "aimlapi", prose(60_000)),
    (VOYAGE, "aimlapi", prose(9_000)),
    (BGE, "aimlapi", prose(9_000)),
    (M2.format("2k"), "aimlapi", prose(9_000)),
    (M2.format("32k"), "aimlapi", prose(300_000)),
    (QWEN, "aimlapi", prose(60_000)),
]


@pytest.mark.parametrize(("model", "provider", "long"), LONG, ids=[row[0] for row in LONG])
def test_with_truncate_the_beginning_of_a_long_text_is_embedded_in_one_request_of_its_own(
    entry_point: EntryPoint, model: str, provider: str, long: str
) -> None:
    entry_point.make(model, provider=provider, too_long="truncate")
    vectors = entry_point.documents(["short", long, "short too"])
    sent = [text for asked in entry_point.fake_server.inputs for text in as_list(asked)]
    assert sorted(sent, key=len)[:2] == ["short", "short too"]
    (begin,) = {*sent} - {"short", "short too"}
    assert long.startswith(begin + " ")  # it ends with a word
    assert vectors[1] == entry_point.documents([begin])[0]


def as_list(asked: str | list[str]) -> list[str]:
    return [asked] if isinstance(asked, str) else asked


@pytest.mark.parametrize(("model", "provider", "long"), LONG, ids=[row[0] for row in LONG])
def test_hardly_more_is_cut_away_than_english_prose_needs(
    core: EntryPoint, model: str, provider: str, long: str
) -> None:
    found = result(core.make(model, provider=provider, too_long="truncate"), [long])
    limits = MODEL[model]
    characters = limits.max_chars_alone or limits.family.max_chars_alone or 10**9
    at_four_bytes_a_token = min(4 * (limits.max_tokens_per_text or 0), characters)
    assert at_four_bytes_a_token * 0.98 < found.truncated[0] <= at_four_bytes_a_token


@pytest.mark.parametrize(("model", "provider"), [(UNKNOWN, "aimlapi"), (NUGEN, "nugen")])
def test_where_no_limit_is_known_a_text_is_sent_whole_and_halved_when_it_is_refused(
    core: EntryPoint, model: str, provider: str
) -> None:
    refuse_above(core, 3_000)
    core.make(model, provider=provider, too_long="truncate")
    found = result(core, [prose(10_000)])
    assert [len(as_list(asked)[0]) for asked in core.fake_server.inputs] == pytest.approx(
        [10_000, 5_000, 2_500], rel=0.01
    )
    assert 2_400 < found.truncated[0] <= 2_500
    assert found.usage.requests == 3
    assert found.usage.retries == 2


def test_google_is_asked_to_cut_and_no_text_is_cut_here(core: EntryPoint) -> None:
    core.make(GOOGLE, too_long="truncate")
    found = result(core, [prose(60_000)])
    assert core.fake_server.bodies[0]["auto_truncate"] is True
    assert core.fake_server.inputs == [[prose(60_000)]]
    assert (found.truncated, found.possibly_truncated) == ({}, (0,))


# Shorter again


def test_a_dense_text_is_sent_again_shorter_until_it_is_accepted(entry_point: EntryPoint) -> None:
    entry_point.make(OPENAI, dimensions=4, too_long="truncate")
    dense = DENSE * 2_000
    vectors = entry_point.documents(["short", dense, "short too"])
    sizes = [len(text) for asked in entry_point.fake_server.inputs for text in asked]
    assert sorted(size for size in sizes if size < 10) == [5, 9]
    again = [size for size in sizes if size >= 10]
    assert again == pytest.approx([32_760 * 0.75**n for n in range(4)], rel=0.01)
    assert vectors[1] == entry_point.documents([dense[: again[-1]]])[0]
    assert entry_point.client.usage.requests == 1 + 4 + 1
    assert entry_point.client.usage.retries == 3


def test_a_text_that_is_denser_than_the_estimate_is_found_in_its_batch(core: EntryPoint) -> None:
    """It shares a request, since three bytes to a token would fit."""
    core.make(OPENAI, dimensions=4, too_long="truncate")
    dense = (DENSE * 2_000)[:20_001]
    found = result(core, ["a", "b", dense, "c"])
    assert len(core.fake_server.inputs[0]) == 4
    assert list(found.truncated) == [2]
    assert len(found.vectors) == 4


def test_a_text_that_is_cut_teaches_no_limit_for_batches(core: EntryPoint) -> None:
    core.make(OPENAI, dimensions=4, too_long="truncate")
    texts = [*(f"text {i}" for i in range(63)), (DENSE * 2_000)[:20_001]]
    result(core, texts)
    core.fake_server.requests.clear()
    result(core, [f"text {i}" for i in range(64)])
    assert [len(asked) for asked in core.fake_server.inputs] == [64]


def test_a_refusal_in_other_words_is_one_of_length_where_the_estimate_says_so(
    core: EntryPoint,
) -> None:
    answer, server = core.fake_server.answer, emulator.Emulator()
    fault = emulator.Fault(400, body=b'{"message": "\\u6587\\u672c"}')

    def reply(request: emulator.Request) -> emulator.Reply:
        long = len(json.loads(request.body)["input"][0]) > 26_000
        return server.reply(request, fault) if long else answer(request)

    core.fake_server.answer = reply
    core.make(OPENAI, dimensions=4, too_long="truncate")
    assert result(core, [prose(60_000)]).truncated[0] <= 26_000


def test_a_text_is_given_up_after_nine_refusals_and_named(entry_point: EntryPoint) -> None:
    refuse_above(entry_point, 10)
    entry_point.make(OPENAI, dimensions=4, too_long="truncate")
    with pytest.raises(RequestTooLargeError) as caught:
        entry_point.documents(["short", prose(60_000)])
    error = caught.value
    assert error.indices == (1,)
    assert error.refused == {1: MESSAGE}
    assert "truncate" not in str(error)  # it was chosen already
    assert error.partial is not None
    assert [vector is None for vector in error.partial.vectors] == [False, True]
    assert error.partial.truncated == {}
    assert len(entry_point.fake_server.requests) == 1 + 9
    assert entry_point.client.usage.requests == 1 + 9


def test_a_short_text_that_is_refused_for_its_size_is_not_cut(core: EntryPoint) -> None:
    refuse_above(core, 10)
    core.make(OPENAI, dimensions=4, too_long="truncate")
    with pytest.raises(RequestTooLargeError):
        result(core, ["no more than forty bytes, or so it seems"])
    assert len(core.fake_server.requests) == 1


def test_what_an_account_may_send_in_a_minute_cuts_no_text(core: EntryPoint) -> None:
    said = "Request too large for m on tokens per min (TPM): Limit 400, Requested 1040"
    body = json.dumps({"message": said}).encode()
    core.fake_server.will(emulator.Fault(429, body=body))
    core.make(OPENAI, dimensions=4, too_long="truncate")
    with pytest.raises(RequestTooLargeError):
        result(core, [prose(4_000)])
    assert len(core.fake_server.requests) == 1


def test_without_truncate_no_text_is_cut(entry_point: EntryPoint) -> None:
    for options in ({}, {"too_long": "error"}):
        entry_point.make(OPENAI, dimensions=4, **options)
        with pytest.raises(RequestTooLargeError):
            entry_point.documents([DENSE * 2_000])
    assert [[len(text) for text in asked] for asked in entry_point.fake_server.inputs] == [
        [64_000],
        [64_000],
    ]


# What the result tells


def test_the_result_tells_how_much_of_each_text_was_sent_repeated_ones_too(
    core: EntryPoint,
) -> None:
    long, dense = prose(60_000), DENSE * 2_000
    texts = ["a", long, dense, "b", long]
    found = result(core.make(OPENAI, dimensions=4, too_long="truncate"), texts)
    assert list(found.truncated) == [1, 2, 4]
    assert found.truncated[1] == found.truncated[4]
    sent = {text for asked in core.fake_server.inputs for text in asked}
    assert {texts[i][:kept] for i, kept in found.truncated.items()} <= sent
    assert found.possibly_truncated == ()
    assert pickle.loads(pickle.dumps(found)).truncated == found.truncated
    assert "3 texts" in found._repr_html_()
    assert result(core, ["a", "b"]).truncated == {}


def test_the_partial_of_an_error_lists_truncated_texts_that_have_a_vector(core: EntryPoint) -> None:
    core.make(OPENAI, dimensions=4, too_long="truncate", batch_size=1, max_concurrency=1)
    core.fake_server.will(None, emulator.Fault(401))
    with pytest.raises(Exception, match="401") as caught:
        result(core, [prose(60_000), "good", prose(70_000)])
    partial = caught.value.partial  # type: ignore[attr-defined]
    assert list(partial.truncated) == [0]


def test_the_log_names_truncated_texts_by_position_and_not_by_content(
    entry_point: EntryPoint, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "aimlapi_embeddings")
    entry_point.make(OPENAI, dimensions=4, too_long="truncate")
    entry_point.documents([prose(60_000), "a", DENSE * 2_000])
    messages = [record.getMessage() for record in caplog.records]
    assert messages[0] == f"2 texts are longer than {OPENAI} takes and were cut"
    assert messages[1].startswith("text 0 was cut: its first 32")
    assert messages[2].startswith("text 2 was cut: its first ")
    assert sum("text 2 was refused as too long" in line for line in messages) == 3
    assert "some words" not in caplog.text


# Whole: prefixes, words, characters


def test_the_prefix_of_a_query_stays_whole_and_counts(entry_point: EntryPoint) -> None:
    entry_point.make(BGE, too_long="truncate")
    entry_point.query(prose(9_000))
    ((sent,),) = entry_point.fake_server.inputs
    assert sent.startswith(BGE_PREFIX + PROSE)
    assert len(sent) <= 4 * 512


def test_a_prefix_that_leaves_no_room_is_refused_by_the_server(core: EntryPoint) -> None:
    core.make(BGE, too_long="truncate", document_prefix=prose(9_000))
    with pytest.raises(BadRequestError):
        result(core, ["a text"])
    assert len(core.fake_server.requests) == 1


def test_a_text_that_voyage_refuses_for_its_characters_is_cut_as_the_gateway_counts_them(
    core: EntryPoint,
) -> None:
    core.make("voyage-large-2-instruct", too_long="truncate")
    found = result(core, ["\U0001f600 " * 4_000, "x" * 9_000])
    assert found.truncated == {0: 2_666 * 2 + 1, 1: 8_000}
    assert all(length_of(as_list(asked)[0]) <= 8_000 for asked in core.fake_server.inputs)


tokens = st.integers(20, 60)
PIECES = ["a", "word", " ", "\n", "\u00e9", "e\u0301", "\u4e2d", "\U0001f600"]
PIECES += ["\U0001f468\u200d\U0001f469", "\U0001f1e9\U0001f1ea"]
texts = st.lists(st.sampled_from(PIECES), min_size=1, max_size=300).map("".join)


def model_of(limit: int | None, chars: int | None) -> Model:
    return replace(MODEL[OPENAI], max_tokens_per_text=limit, max_chars_alone=chars)


@given(texts, st.none() | tokens, st.none() | tokens, st.sampled_from(["", "p: "]))
def test_what_is_sent_is_a_beginning_that_keeps_to_the_limits(
    text: str, limit: int | None, chars: int | None, prefix: str
) -> None:
    shortener = Shortener(model_of(limit, chars), prefix)
    begin = shortener.fit(0, text)
    assert begin
    assert text.startswith(begin)
    assert shortener.kept == ({} if begin == text else {0: len(begin)})
    sent = prefix + begin
    assert chars is None or length_of(sent) <= chars
    assert limit is None or len(sent.encode()) <= 4 * limit


@given(texts, tokens)
def test_a_text_that_fits_by_the_careful_estimate_is_never_cut(text: str, limit: int) -> None:
    shortener = Shortener(model_of(limit, None), "")
    if estimate_tokens(text) <= limit - 2:
        assert shortener.fit(0, text) == text


@given(texts, tokens)
def test_after_a_refusal_less_is_sent_until_nothing_can_be_left_out(text: str, limit: int) -> None:
    long = text * (6_000 // len(text) + 1)
    shortener = Shortener(model_of(512 + limit, None), "p: ")
    sent = "p: " + shortener.fit(0, long)
    for _ in range(8):
        begin = shortener.after_refusal(0, sent)
        if begin is None:
            assert len(sent.encode()) < 512
            return
        assert 0 < len(begin) < len(sent) - 3
        assert long.startswith(begin)
        sent = "p: " + begin
    assert shortener.after_refusal(0, sent) is None


@given(texts, st.data())
def test_a_cut_is_behind_a_word_near_it_or_behind_a_whole_character(
    text: str, data: st.DataObject
) -> None:
    text += " end"
    most = data.draw(st.integers(1, len(text) - 1))
    end = end_of_words(text, most)
    assert 1 <= end <= most
    if end >= most - most // 8 and text[end].isspace():
        return
    after = text[end]
    whole = unicodedata.category(after)[0] != "M" and "\u200d" not in (after, text[end - 1])
    assert whole or end == most


@pytest.mark.parametrize(
    ("text", "most", "end"),
    [
        ("one two three four", 18 - 5, 13),  # behind "three", where it ends
        ("one two three four", 14, 13),
        ("aaaaaaaa bb cccccccccc", 13, 13),  # the last word began too long ago
        ("xxxxxxe\u0301", 7, 6),
        ("xxxxxx\U0001f468\u200d\U0001f469", 7, 6),
        ("xxxxxx\U0001f468\u200d\U0001f469", 8, 6),
        ("xxxxxx\U0001f44d\U0001f3fd", 7, 6),
        ("xxxxxx\U0001f1e9\U0001f1ea", 7, 6),
        ("a" + "\u0301" * 50, 40, 40),
    ],
)
def test_words_and_characters_stay_whole(text: str, most: int, end: int) -> None:
    assert end_of_words(text, most) == end


# Errors


SILENT = [
    (VOYAGE, "\u4e2d" * 5_000, 4_000),
    (M2.format("2k"), "\u4e2d" * 2_500, 2_048),
    (M2.format("32k"), prose(100_000), 32_768),
]


@pytest.mark.parametrize(("model", "long", "limit"), SILENT, ids=[row[0] for row in SILENT])
def test_with_error_a_text_that_may_be_cut_silently_is_refused_before_anything_is_sent(
    entry_point: EntryPoint, model: str, long: str, limit: int
) -> None:
    entry_point.make(model, too_long="error")
    with pytest.raises(InvalidInputError) as caught:
        entry_point.documents(["short", long, "short too", long])
    error = caught.value
    assert error.indices == (1, 3)
    assert error.refused.keys() == {1, 3}
    assert f"tokens of {limit:,}" in error.refused[1]
    assert str(error).startswith(f"2 of 4 texts are longer than {model} takes: texts[1], the first")
    assert 'too_long="truncate"' in str(error)
    assert entry_point.fake_server.requests == []
    entry_point.documents(["short", "short too"])


def test_without_error_voyage_is_suspected_of_a_silent_cut(core: EntryPoint) -> None:
    core.make(VOYAGE)
    with pytest.warns(UserWarning, match="the provider cuts such texts without a message"):
        assert result(core, ["\u4e2d" * 5_000]).possibly_truncated == (0,)


def test_what_has_too_many_characters_is_not_suspected_of_a_silent_cut(core: EntryPoint) -> None:
    core.make(VOYAGE)
    with pytest.raises(RequestTooLargeError):  # warnings are errors too, of another class
        result(core, ["x" * 20_000])


def test_a_text_whose_vector_is_known_is_not_refused(core: EntryPoint) -> None:
    core.make(M2.format("32k"), too_long="error")
    assert len(result(core, [prose(100_000), "a"], known={0: [0.5] * 768})) == 2


# Names of what decides the vectors


def identity(model: str, too_long: str | None) -> dict[str, Any]:
    return EmbeddingsClient(model=model, api_key=KEY, too_long=too_long).identity  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("model", "choices"),
    [
        (GOOGLE, ["error", "truncate"]),
        (OPENAI, ["truncate"]),  # which refuses by itself
        (VOYAGE, ["error", "truncate"]),
        (NUGEN, ["error", "truncate"]),
    ],
)
def test_identity_tells_the_choices_that_change_something(model: str, choices: list[str]) -> None:
    found = [choice for choice in ("error", "truncate") if identity(model, choice)["too_long"]]
    assert found == choices
    assert all(identity(model, choice)["too_long"] == choice for choice in choices)


def test_over_a_real_connection_long_texts_among_short_ones(package: Any, mode: Mode) -> None:
    """Refusals come faster than vectors, side by side."""
    texts = [DENSE * 2_000 if i % 10 == 3 else f"text {i}" for i in range(100)]
    texts = [f"{i} {text}" for i, text in enumerate(texts)]
    with serving() as (_, base_url):
        entry_point = connected(package, mode, base_url, too_long="truncate", batch_size=10)
        vectors = entry_point.documents(texts)
        assert len(vectors) == 100
        alone = entry_point.documents([texts[0], texts[99]])
        assert [vectors[0], vectors[99]] == alone
        entry_point.client.close()
