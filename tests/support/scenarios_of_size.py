"""Scenarios of length and number: which texts share a request, and what exceeds a limit."""

from __future__ import annotations

from collections.abc import Iterator

from aimlapi_embeddings import AuthenticationError, RequestTooLargeError
from tests.support.recorded_models import EIGHT, GOOGLE, M2, RECORDED_MODELS, USUAL
from tests.support.scenario import Call, Scenario, documents, query, slug


def _too_long() -> Iterator[Scenario]:
    """A text over the model's limit."""
    long = documents("a " * 8200)
    for family, model, call in (
        ("openai", USUAL["openai"].model, long),
        ("voyage", USUAL["voyage"].model, documents("a" * 8001)),
        ("bge", USUAL["bge"].model, documents("a " * 600)),
        ("m2-bert", M2.format("2k"), documents("a" * 3001)),
        ("qwen", USUAL["qwen"].model, long),
        ("generic", USUAL["generic"].model, long),
    ):
        yield Scenario(
            family,
            "text_too_long",
            model,
            (call,),
            # These families refuse such a text by default, and accept the option that says so.
            {"too_long": "error"} if family in ("openai", "bge", "qwen") else {},
            error=RequestTooLargeError,
            served=USUAL[family].served,
        )
    calls = (query("short"), documents("a " * 2100))
    for too_long in (None, "truncate", "error"):
        yield Scenario(
            "google",
            f"too_long_{too_long}".lower(),
            GOOGLE,
            calls,
            {**EIGHT, "too_long": too_long},
            8,
            error=RequestTooLargeError if too_long == "error" else None,
        )


def _alone() -> Iterator[Scenario]:
    """Texts that must be sent alone."""
    mixed = documents("short", "b" * 800, "c" * 801, "short too", "d" * 8000, "short as well")
    yield Scenario("voyage", "mixed_lengths", "voyage-2", (mixed,), size=1024)
    for size in ("2k", "8k"):
        name, texts = f"no_arrays_{size}", documents("one", "two")
        yield Scenario("m2-bert", name, M2.format(size), (texts,), size=768, served=False)


def _limits() -> Iterator[Scenario]:
    """How much the first request carries. Its refusal ends the call.

    A refused request shows the limit too, and keeps thousands of vectors out of the cassette.
    """
    for family, id, *_, most_texts, most_tokens_of_a_text, _ in RECORDED_MODELS:
        full, over = documents(*_numbers(most_texts)), documents(*_numbers(most_texts + 1))
        yield _refused(family, f"limit_texts_{slug(id)}", id, full, over)
        if most_tokens_of_a_text:
            # The client estimates one token for each three bytes, plus one.
            fits, long = (c * (3 * most_tokens_of_a_text - d) for c, d in (("a", 1), ("b", 0)))
            texts = documents("short", fits, long, "short too")
            yield _refused(family, f"limit_tokens_of_a_text_{slug(id)}", id, texts)
    for family, id, most, tokens in (
        ("google", GOOGLE, 20_000, 2_000),
        ("google", "text-embedding-004", 20_000, 2_000),
        ("openai", "text-embedding-3-small", 300_000, 7_500),
        ("voyage", "voyage-law-2", 120_000, 240),
    ):
        texts = documents(*(f"{i:06}{'a' * (3 * tokens - 9)}" for i in range(most // tokens + 1)))
        yield _refused(family, f"limit_tokens_{slug(id)}", id, texts)


def _numbers(count: int) -> Iterator[str]:
    return map(str, range(count))


def _refused(family: str, name: str, model: str, *calls: Call) -> Scenario:
    return Scenario(
        family,
        name,
        model,
        calls,
        error=AuthenticationError,
        fails=len(calls),
        fault=401,
        served=False,
    )


SCENARIOS_OF_SIZE: tuple[Scenario, ...] = (*_too_long(), *_alone(), *_limits())
