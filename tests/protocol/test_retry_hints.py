"""What a reply says about when to send again: every place, every form, and what is binding."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from email.utils import formatdate
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aimlapi_embeddings._protocol.retry_hints import RetryHint, read_retry_hint

NOW = 1_790_000_000.0  # Mon, 21 Sep 2026 14:13:20 GMT


def read(headers: Mapping[str, str] | None = None, body: bytes = b"") -> RetryHint | None:
    return read_retry_hint(headers or {}, body, lambda: NOW)


def said(message: str) -> RetryHint | None:
    return read(body=json.dumps({"error": {"message": message}}).encode())


def reset(value: str, budget: str = "-requests", remaining: str = "0") -> RetryHint | None:
    return read({f"x-ratelimit-remaining{budget}": remaining, f"x-ratelimit-reset{budget}": value})


def binding(seconds: float) -> RetryHint:
    return RetryHint(seconds, binding=True)


def test_a_reply_that_says_nothing_has_no_hint() -> None:
    assert read() is None
    assert read({"date": formatdate(NOW, usegmt=True)}, b"<html>Too Many Requests</html>") is None


# Retry-After


@pytest.mark.parametrize(
    ("value", "seconds"),
    [("7", 7.0), (" 7 ", 7.0), ("0", 0.0), ("1.5", 1.5), ("0.25", 0.25), ("1e2", 100.0),
     ("-5", -5.0), ("-0.1", -0.1)],
)  # fmt: skip
def test_retry_after_in_seconds_is_binding(value: str, seconds: float) -> None:
    assert read({"retry-after": value}) == binding(seconds)


@pytest.mark.parametrize(
    ("value", "seconds"),
    [("30s", 30.0), ("30 s", 30.0), ("30 seconds", 30.0), ("1m30s", 90.0), ("500ms", 0.5),
     ("PT30S", 30.0), ("PT1M30S", 90.0), ('"30"', 30.0), (f"{NOW + 30:.0f}", 30.0),
     (f"{(NOW + 30) * 1000:.0f}", 30.0), ("30, 30", 30.0), ("7, 30", 30.0), ("soon, 7", 7.0),
     (datetime.fromtimestamp(NOW + 30, UTC).strftime("%Y-%m-%dT%H:%M:%SZ"), 30.0),
     (datetime.fromtimestamp(NOW + 30, UTC).strftime("%Y-%m-%d %H:%M:%S"), 30.0)],
)  # fmt: skip
def test_retry_after_is_read_in_the_forms_that_servers_use_beside_those_of_http(
    value: str, seconds: float
) -> None:
    assert read({"retry-after": value}) == binding(seconds)


@pytest.mark.parametrize("offset", [30, 0, -30, -(10**9)])
def test_a_date_is_measured_against_the_replys_own_date(offset: int) -> None:
    """The clock here may be hours off."""
    theirs = NOW - 5 * 3600
    headers = {
        "date": formatdate(theirs, usegmt=True),
        "retry-after": formatdate(theirs + offset, usegmt=True),
    }
    assert read(headers) == binding(offset)


@pytest.mark.parametrize("own_date", [{}, {"date": "yesterday"}, {"date": ""}])
@pytest.mark.parametrize("offset", [30, -30])
def test_a_date_without_a_date_of_the_reply_is_measured_against_this_clock(
    offset: int, own_date: dict[str, str]
) -> None:
    headers = {**own_date, "retry-after": formatdate(NOW + offset, usegmt=True)}
    assert read(headers) == binding(offset)


def test_this_clock_is_not_asked_where_the_reply_has_a_date() -> None:
    headers = {"date": formatdate(NOW, usegmt=True), "retry-after": "3"}

    def never() -> float:
        raise AssertionError

    assert read_retry_hint(headers, b"", never) == binding(3.0)


def test_a_date_in_another_zone_is_the_same_moment() -> None:
    assert read({"retry-after": "Mon, 21 Sep 2026 19:45:00 +0530"}) == binding(100.0)


@pytest.fixture
def far_from_greenwich(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A machine whose clock is nine hours ahead."""
    if not hasattr(time, "tzset"):
        pytest.skip("this system cannot change its time zone")
    with monkeypatch.context() as patch:
        patch.setenv("TZ", "JST-9")
        time.tzset()
        yield
    time.tzset()


@pytest.mark.parametrize(
    "form", ["%a, %d %b %Y %H:%M:%S GMT", "%A, %d-%b-%y %H:%M:%S GMT", "%a %b %d %H:%M:%S %Y"]
)
@pytest.mark.usefixtures("far_from_greenwich")
def test_each_form_of_a_date_that_http_ever_had_is_in_greenwich_time(form: str) -> None:
    assert read({"retry-after": time.strftime(form, time.gmtime(NOW + 90))}) == binding(90.0)


@pytest.mark.parametrize(
    "value",
    ["", " ", "soon", "inf", "-inf", "nan", "1e999", "7 apples", "1m30", "7,5", "0x10", "Wed",
     "Wed, 99 Oct 2015 07:28:00 GMT", "Wed, 21 Oct 2015", ", , ,"],
)  # fmt: skip
def test_a_value_that_cannot_be_read_is_no_hint(value: str) -> None:
    assert read({"retry-after": value}) is None
    assert read({"retry-after-ms": value}) is None


@pytest.mark.parametrize(("value", "seconds"), [("1500", 1.5), ("0", 0.0), ("-20", -0.02)])
def test_retry_after_ms_is_binding_and_more_exact_than_retry_after(
    value: str, seconds: float
) -> None:
    assert read({"retry-after-ms": value}) == binding(seconds)
    assert read({"retry-after-ms": value, "retry-after": "9"}) == binding(seconds)
    assert read({"x-ms-retry-after-ms": value, "retry-after": "9"}) == binding(seconds)


# The body


@pytest.mark.parametrize(("value", "seconds"), [("34s", 34.0), ("3.5s", 3.5), ("0s", 0.0)])
def test_googles_retry_delay_is_binding(value: str, seconds: float) -> None:
    info = {"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": value}
    body = json.dumps({"error": {"code": 429, "details": [{"x": 1}, info]}}).encode()
    assert read(body=body) == binding(seconds)
    assert read(body=body.replace(b'": "', b'":"')) == binding(seconds)


def test_a_vendors_wait_is_found_in_json_inside_a_message() -> None:
    """Gateways quote the whole error of the vendor behind them."""
    info = {"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": "34s"}
    vendor = json.dumps({"error": {"code": 429, "details": [info]}})
    assert said(f"VertexAIException - {vendor}") == binding(34.0)
    assert said(json.dumps({"message": vendor})) == binding(34.0)


@pytest.mark.parametrize(
    ("field", "seconds"),
    [({"retry_after": 20}, 20.0), ({"retryAfter": "20"}, 20.0), ({"retry_after": 0.5}, 0.5),
     ({"retry_after_ms": 1500}, 1.5), ({"retry_after_seconds": 20}, 20.0),
     ({"retryAfterMs": 1500}, 1.5), ({"Retry-After": "20"}, 20.0), ({"retryDelay": 20}, 20.0),
     ({"retry_after": "20s"}, 20.0), ({"retry_after": int(NOW) + 20}, 20.0),
     ({"retry_after": datetime.fromtimestamp(NOW + 20, UTC).isoformat()}, 20.0),
     ({"retry_after": formatdate(NOW + 20, usegmt=True)[5:]}, 20.0)],
)  # fmt: skip
def test_a_field_of_the_body_is_binding(field: dict[str, Any], seconds: float) -> None:
    inside = {"message": json.dumps({"error": field})}
    for body in (field, {"error": {"message": "slow down", **field}}, inside):
        assert read(body=json.dumps(body).encode()) == binding(seconds)
        assert read(body=json.dumps(body, separators=(",", ":")).encode()) == binding(seconds)


@pytest.mark.parametrize(
    ("message", "seconds"),
    [
        ("Please try again in 30s.", 30.0),
        ("Please try again in 20 seconds", 20.0),
        ("Rate limit reached for x: Limit 3, Used 3. Please try again in 250ms. Visit y", 0.25),
        ("Try again in 6m0s.", 360.0),
        ("please retry in 1h30m", 5400.0),
        ("Retry after 1.5 seconds", 1.5),
        ("Please retry your request. Retry after 5 s", 5.0),
        ("please wait for 2 minutes and 10 seconds", 130.0),
        ("wait 1 minute", 60.0),
        ("Please try again after about 1 min", 60.0),
        ("retry in 12.345s", 12.345),
        ("try again in 1 hour", 3600.0),
        ("try again in 1 day", 86400.0),
        ("try again in 100 milliseconds", 0.1),
        ("try again in a minute", 60.0),
        ("try again in one hour", 3600.0),
        ("try again in approximately 20 seconds", 20.0),
        ("Please try your request again in 20 seconds", 20.0),
        ("retry your request after 20 seconds", 20.0),
        ("Try again later, in 20 seconds", 20.0),
        ("Request was throttled. Expected available in 20 seconds.", 20.0),
        ("Your quota will reset after 1h2m10s.", 3730.0),
        ("The limit resets in 20 seconds", 20.0),
        ("\u8bf7\u572820\u79d2\u540e\u91cd\u8bd5", 20.0),
        ("1 \u5206\u949f\u540e\u518d\u8bd5", 60.0),
        ("20\u79d2\u5f8c\u306b\u518d\u8a66\u884c\u3057\u3066\u304f\u3060\u3055\u3044", 20.0),
    ],
)
def test_the_words_of_the_message_are_binding(message: str, seconds: float) -> None:
    hint = said(message)
    assert hint is not None
    assert (hint.seconds, hint.binding) == (pytest.approx(seconds), True)


@pytest.mark.parametrize("field", [None, "soon", "", True, {}, [5]])
def test_a_field_that_cannot_be_read_leaves_the_words(field: Any) -> None:
    assert read(body=json.dumps({"retry_after": field}).encode()) is None
    body = json.dumps({"message": "try again in 3s", "retry_after": field}).encode()
    assert read(body=body) == binding(3.0)


@pytest.mark.parametrize(
    "message",
    [
        "Please try again later.",
        "try again in a moment",
        "You sent 30 s of audio",
        "Rate limit: 60 requests per minute",
        "retry in 5 apples",
        "the server was not available within 30 seconds",
        "the upstream connection was reset after 30 s",
        "connection reset after 30 s",
        "\u6bcf60\u79d2\u6700\u591a10\u6b21",
        "wait",
    ],
)
def test_words_without_a_wait_are_no_hint(message: str) -> None:
    assert said(message) is None


def test_only_the_beginning_of_a_large_body_is_searched() -> None:
    assert read(body=b" " * 8000 + b"try again in 3s") == binding(3.0)
    assert read(body=b" " * 9000 + b"try again in 3s") is None


def test_a_body_that_is_no_text_is_no_hint() -> None:
    assert read(body=bytes(range(256)) * 64) is None
    assert read(body=bytearray(b"\xff try again in 3s")) == binding(3.0)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "piece", [b"try again in ", b"retry ", b"1", b"1s", b"<", b"wait 1m ", b"\\"]
)
def test_a_body_is_read_in_linear_time(piece: bytes) -> None:
    started = time.perf_counter()
    read(body=piece * 100_000)
    assert time.perf_counter() - started < 1.0


# Rate-limit headers


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        ("20", 20.0),
        ("0", 0.0),
        ("1.5", 1.5),
        ("20s", 20.0),
        ("1m30s", 90.0),
        ("6m0s", 360.0),
        ("1h2m3s", 3723.0),
        ("250ms", 0.25),
        ("1m0.5s", 60.5),
        ("8.64s", 8.64),
        (f"{NOW + 40:.0f}", 40.0),
        (f"{(NOW + 40) * 1000:.0f}", 40.0),
        (f"{NOW - 40:.0f}", -40.0),
        (formatdate(NOW + 40, usegmt=True), 40.0),
        (datetime.fromtimestamp(NOW + 40, UTC).isoformat(), 40.0),
        (datetime.fromtimestamp(NOW + 40, UTC).strftime("%Y-%m-%dT%H:%M:%SZ"), 40.0),
        (datetime.fromtimestamp(NOW + 40, UTC).strftime("%Y-%m-%dT%H:%M:%S"), 40.0),
    ],
)
@pytest.mark.parametrize("budget", ["-requests", "-tokens", ""])
def test_a_reset_header_is_read_in_all_forms_and_never_binding(
    value: str, seconds: float, budget: str
) -> None:
    hint = reset(value, budget)
    assert hint is not None
    assert (hint.seconds, hint.binding) == (pytest.approx(seconds), False)


@pytest.mark.parametrize("value", ["", "soon", "1m30", "5 apples", "inf", "tomorrow", "1s2"])
def test_a_reset_that_cannot_be_read_is_no_hint(value: str) -> None:
    assert reset(value) is None


@pytest.mark.parametrize("remaining", ["1", "59", "", "many"])
def test_a_reset_is_read_only_for_a_budget_that_is_used_up(remaining: str) -> None:
    assert reset("20", remaining=remaining) is None
    assert read({"x-ratelimit-reset-requests": "20"}) is None


def test_a_budget_of_which_more_is_used_than_there_is_is_used_up() -> None:
    assert reset("20", remaining="-3") == RetryHint(20.0, binding=False)


def test_a_budget_as_drafts_of_the_ietf_have_it_is_read() -> None:
    headers = {"ratelimit-remaining": "0", "ratelimit-reset": "20"}
    assert read(headers) == RetryHint(20.0, binding=False)
    assert read({**headers, "ratelimit-remaining": "5"}) is None


def test_of_several_budgets_that_are_used_up_the_last_to_be_full_counts() -> None:
    headers = {
        "x-ratelimit-remaining-requests": "0",
        "x-ratelimit-reset-requests": "3s",
        "x-ratelimit-remaining-tokens": "0",
        "x-ratelimit-reset-tokens": "1m",
    }
    assert read(headers) == RetryHint(60.0, binding=False)
    assert read({**headers, "x-ratelimit-remaining-tokens": "9"}) == RetryHint(3.0, binding=False)


@pytest.mark.parametrize(
    "more",
    [{"retry-after": "2"}, {"retry-after-ms": "2000"}, {"retry-after": "2", "date": "x"}],
)
def test_what_the_server_asks_for_goes_before_the_rate_limit_headers(more: dict[str, str]) -> None:
    headers = {"x-ratelimit-remaining": "0", "x-ratelimit-reset": "60", **more}
    assert read(headers) == binding(2.0)


def test_the_words_go_before_the_rate_limit_headers_and_after_retry_after() -> None:
    headers = {"x-ratelimit-remaining": "0", "x-ratelimit-reset": "60"}
    assert read(headers, b"try again in 4s") == binding(4.0)
    assert read({"retry-after": "2"}, b"try again in 4s") == binding(2.0)


_HEADERS = ["date", "retry-after", "retry-after-ms", "x-ratelimit-remaining", "x-ratelimit-reset"]
_VALUES: Any = (
    st.text(max_size=30)
    | st.from_regex(r"\w{3}, \d{1,3} \w{3} \d{1,5} \d\d?:\d\d(:\d\d)? .*")
    | st.from_regex(r"(\d{1,400}(\.\d+)?(ms|h|m|s)?)+", fullmatch=True)
    | st.floats().map(str)
    | st.datetimes().map(str)
)


@given(headers=st.dictionaries(st.sampled_from(_HEADERS), _VALUES), body=st.binary(max_size=200))
def test_whatever_a_server_says_is_a_finite_wait_or_none(
    headers: dict[str, str], body: bytes
) -> None:
    hint = read({"x-ratelimit-remaining": "0", **headers}, body)
    assert hint is None or float("-inf") < hint.seconds < float("inf")
