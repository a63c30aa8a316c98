"""Plans: texts become batches without duplicates, within the limits, in even and whole waves."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aimlapi_embeddings import supported_models
from aimlapi_embeddings._catalog.families import Model
from aimlapi_embeddings._engine.planning import (
    Batch,
    Plan,
    estimate_tokens,
    plan_batches,
)
from aimlapi_embeddings._protocol.request import length_of
from aimlapi_embeddings._slices import at_once

MODEL = {model.id: model for model in supported_models()}
OPENAI = MODEL["text-embedding-3-small"]
GOOGLE = MODEL["text-multilingual-embedding-002"]
VOYAGE = MODEL["voyage-2"]
M2_2K = MODEL["togethercomputer/m2-bert-80M-2k-retrieval"]


class Job(NamedTuple):
    """Arguments of a plan."""

    texts: Sequence[str]
    model: Model = OPENAI
    max_concurrency: int = 8
    titles: Sequence[str | None] | None = None
    prefix: str = ""
    batch_size: int | None = None

    def plan(self) -> Plan:
        return at_once(
            plan_batches(
                self.texts,
                self.model,
                batch_size=self.batch_size or self.model.max_texts_per_request,
                max_concurrency=self.max_concurrency,
                prefix=self.prefix,
                titles=self.titles,
            )
        )


def sizes(plan: Plan) -> list[int]:
    return [len(batch) for batch in plan.batches]


def numbered(count: int) -> list[str]:
    return [f"text {i}" for i in range(count)]


@st.composite
def jobs(draw: st.DrawFn, *, titled: bool | None = None) -> Job:
    """Draw texts that repeat and differ in length, for a model with small limits."""
    texts = draw(st.lists(st.text("ab é\U0001f600", min_size=1, max_size=40), max_size=60))
    model = replace(
        OPENAI,
        family=replace(OPENAI.family, max_chars_in_array=draw(st.none() | st.integers(1, 30))),
        max_texts_per_request=draw(st.integers(1, 20)),
        max_tokens_per_request=draw(st.none() | st.integers(1, 60)),
        max_tokens_per_text=draw(st.none() | st.integers(1, 15)),
    )
    titles = None
    if draw(st.booleans()) if titled is None else titled:
        one = st.sampled_from([None, "one", "two"])
        titles = draw(st.lists(one, min_size=len(texts), max_size=len(texts)))
    return Job(texts, model, draw(st.integers(1, 9)), titles, draw(st.sampled_from(["", "> "])))


@given(jobs())
def test_every_distinct_text_is_sent_once(job: Job) -> None:
    titles = job.titles or [None] * len(job.texts)
    sent = [(text, batch.title) for batch in job.plan().batches for text in batch.texts]
    wanted = {(job.prefix + text, title) for text, title in zip(job.texts, titles, strict=True)}
    assert len(sent) == len(wanted)
    assert set(sent) == wanted


@given(jobs())
def test_every_index_is_sent_or_a_copy_of_one_that_is_sent(job: Job) -> None:
    plan = job.plan()
    sent = [i for batch in plan.batches for i in batch.indices]
    assert sorted([*sent, *(i for i, _ in plan.copies)]) == list(range(len(job.texts)))
    assert {place for _, place in plan.copies} <= set(sent)


@given(jobs())
def test_a_copy_refers_to_an_earlier_index_with_the_same_text_and_title(job: Job) -> None:
    titles = job.titles or [None] * len(job.texts)
    for i, place in job.plan().copies:
        assert place < i
        assert (job.texts[i], titles[i]) == (job.texts[place], titles[place])


@given(jobs())
def test_each_text_of_a_batch_is_the_prefix_and_the_text_at_its_index(job: Job) -> None:
    for batch in job.plan().batches:
        assert list(batch.texts) == [job.prefix + job.texts[i] for i in batch.indices]


@given(jobs(titled=False))
def test_batches_and_their_texts_keep_the_order_of_the_caller(job: Job) -> None:
    batches = job.plan().batches
    assert all(list(batch.indices) == sorted(batch.indices) for batch in batches)
    firsts = [batch.indices[0] for batch in batches]
    assert firsts == sorted(firsts)


@given(jobs())
def test_every_batch_of_several_texts_keeps_the_limits(job: Job) -> None:
    model = job.model
    for batch in job.plan().batches:
        assert 1 <= len(batch) <= model.max_texts_per_request
        if len(batch) > 1:
            assert sum(batch.tokens) <= (model.max_tokens_per_request or math.inf)
            assert max(batch.tokens) <= (model.max_tokens_per_text or math.inf)
            assert max(map(length_of, batch.texts)) <= (model.family.max_chars_in_array or math.inf)


def full_batches(job: Job) -> int:
    """Count the requests of a plan that fills each request as far as the limits allow."""
    count = 0
    titles = job.titles or [None] * len(job.texts)
    most_tokens = job.model.max_tokens_per_request or math.inf
    alone_above = min(most_tokens, job.model.max_tokens_per_text or math.inf)
    longest = job.model.family.max_chars_in_array or math.inf
    for title in dict.fromkeys(titles):
        room, left = 0, 0.0  # texts and tokens that still fit into the request
        for text in dict.fromkeys(
            t for t, of in zip(job.texts, titles, strict=True) if of == title
        ):
            tokens = estimate_tokens(text) + len(job.prefix) // 3
            alone = tokens > alone_above or length_of(job.prefix + text) > longest
            if alone or not room or tokens > left:
                count += 1
                room, left = (job.batch_size or job.model.max_texts_per_request), most_tokens
            room, left = (0, 0.0) if alone else (room - 1, left - tokens)
    return count


def waves(requests: int, max_concurrency: int) -> int:
    return math.ceil(requests / max_concurrency)


@given(
    st.integers(1, 6000),
    st.integers(1, 32),
    st.sampled_from([model for model in MODEL.values() if model.max_texts_per_request > 10]),
)
def test_short_texts_take_no_more_waves_than_full_batches_would(
    count: int, max_concurrency: int, model: Model
) -> None:
    job = Job(numbered(count), model, max_concurrency)
    assert waves(len(job.plan().batches), max_concurrency) == waves(
        full_batches(job), max_concurrency
    )


LONG = "word " * 2000  # more tokens than Google takes, so it is sent alone
HEAVY = "word " * 400


@pytest.mark.parametrize(
    ("texts", "titles"),
    [
        ([LONG + str(i) if i % 100 == 50 else f"text {i}" for i in range(300)], None),
        ([HEAVY + str(i) if i < 90 else f"text {i}" for i in range(500)], None),
        (numbered(1200), [f"title {i % 4}" for i in range(1200)]),
    ],
    ids=["texts that travel alone", "heavy texts in front", "titles"],
)
def test_uneven_texts_take_no_more_waves_than_full_batches_would(
    texts: list[str], titles: list[str] | None
) -> None:
    job = Job(texts, GOOGLE, 4, titles)
    assert waves(len(job.plan().batches), 4) <= waves(full_batches(job), 4)


@given(st.data(), st.integers(1, 9), st.integers(1, 5))
def test_no_mix_of_texts_and_titles_takes_more_waves_than_full_batches_would(
    data: st.DataObject, max_concurrency: int, titles: int
) -> None:
    runs = data.draw(
        st.lists(
            st.tuples(st.sampled_from(["text ", HEAVY, LONG]), st.integers(1, 150)), max_size=6
        )
    )
    texts = [f"{kind}{run} {i}" for run, (kind, count) in enumerate(runs) for i in range(count)]
    job = Job(texts, GOOGLE, max_concurrency, [f"title {i % titles}" for i in range(len(texts))])
    plan = job.plan()
    assert waves(len(plan.batches), max_concurrency) <= waves(full_batches(job), max_concurrency)


@pytest.mark.parametrize(
    ("count", "max_concurrency", "batches"),
    [
        (5000, 16, [313] * 15 + [305]),  # three full requests would leave thirteen slots idle
        (2048, 8, [256] * 8),
        (512, 8, [64] * 8),
        (130, 8, [64, 64, 2]),
        (64, 8, [64]),
        (20_000, 8, [1250] * 16),
        (2049, 1, [1025, 1024]),
        (1, 8, [1]),
        (0, 8, []),
    ],
)
def test_batches_fill_whole_waves_without_falling_below_64_texts(
    count: int, max_concurrency: int, batches: list[int]
) -> None:
    assert sizes(Job(numbered(count), OPENAI, max_concurrency).plan()) == batches


def test_texts_sent_alone_take_their_share_of_the_requests_of_a_wave() -> None:
    texts = [LONG + str(i) for i in range(3)] + numbered(1200)
    assert sizes(Job(texts, GOOGLE, 8).plan()) == [1] * 3 + [240] * 5


@given(st.lists(st.integers(1, 900), min_size=1, max_size=12), st.integers(1, 16))
def test_no_batch_is_a_quarter_larger_than_the_waves_require(
    counts: list[int], max_concurrency: int
) -> None:
    """Each title needs batches of its own, so an equal size for all does not fit every wave."""
    titles = [f"title {i}" for i, count in enumerate(counts) for _ in range(count)]
    job = Job(numbered(len(titles)), GOOGLE, max_concurrency, titles)
    most = waves(full_batches(job), max_concurrency) * max_concurrency

    def fits(size: int) -> bool:
        return sum(math.ceil(count / size) for count in counts) <= most

    smallest = next(size for size in range(64, GOOGLE.max_texts_per_request + 1) if fits(size))
    assert max(sizes(job.plan())) <= 1.25 * smallest


@pytest.mark.parametrize(
    ("batch_size", "batches"), [(10, [10] * 10), (63, [63, 37]), (200, [64, 36])]
)
def test_batch_size_lowers_the_limit(batch_size: int, batches: list[int]) -> None:
    assert sizes(Job(numbered(100), batch_size=batch_size).plan()) == batches


def test_a_too_long_text_is_sent_alone_and_does_not_divide_the_others() -> None:
    texts = ["a", "b", "long " * 10_000, "c", "d"]
    assert [list(batch.indices) for batch in Job(texts).plan().batches] == [[0, 1, 3, 4], [2]]


def test_a_batch_ends_at_the_token_limit_of_a_request() -> None:
    texts = [f"{i} " + "word " * 1000 for i in range(25)]  # 1,668 tokens each, Google takes 20,000
    assert sizes(Job(texts, GOOGLE).plan()) == [11, 11, 3]


def test_a_text_too_long_for_an_array_of_voyage_is_sent_alone() -> None:
    texts = ["a" * 800, "b" * 801, "c"]
    assert [list(batch.indices) for batch in Job(texts, VOYAGE).plan().batches] == [[0, 2], [1]]
    assert sizes(Job([texts[0], texts[2]], VOYAGE).plan()) == [2]


def test_the_prefix_counts_towards_the_length_of_a_text() -> None:
    assert sizes(Job(["a" * 799, "b"], VOYAGE, prefix="> ").plan()) == [1, 1]


def test_a_model_without_arrays_gets_one_text_at_a_time() -> None:
    assert sizes(Job(numbered(5), M2_2K).plan()) == [1] * 5


def test_texts_of_different_titles_are_sent_apart() -> None:
    plan = Job(["a", "b", "c", "d"], GOOGLE, titles=["x", None, "x", "y"]).plan()
    assert [(batch.title, list(batch.indices)) for batch in plan.batches] == [
        ("x", [0, 2]),
        (None, [1]),
        ("y", [3]),
    ]


@pytest.mark.parametrize(
    ("text", "tokens"), [("a", 1), ("word", 2), ("w" * 300, 101), ("日本", 3), ("é", 1), ("🙂", 2)]
)
def test_tokens_are_estimated_at_three_bytes_each_plus_one(text: str, tokens: int) -> None:
    assert estimate_tokens(text) == tokens


@given(st.integers(1, 9), st.integers(1, 9))
def test_a_cut_batch_keeps_all_texts_in_order(count: int, size: int) -> None:
    batch = Batch(range(count), numbered(count), [7] * count, "title")
    parts = list(batch.cut(size))
    assert [i for part in parts for i in part.indices] == list(range(count))
    assert [text for part in parts for text in part.texts] == numbered(count)
    assert all(1 <= len(part) == len(part.tokens) <= size for part in parts)
    assert {part.title for part in parts} == {"title"}
