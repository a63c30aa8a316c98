"""From the bytes of a body to a validated request, or a refusal."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from typing import Any, NamedTuple

from aimlapi_embeddings.emulator._checks import kind
from aimlapi_embeddings.emulator._models import ALIASES, EMULATED_PREFIX, MODELS, PLAIN
from aimlapi_embeddings.emulator._rules import Rule, count_tokens, cut_to_tokens
from aimlapi_embeddings.emulator._types import Provider, Refusal, Strictness

_INVALID: Mapping[Provider, int] = {"aimlapi": 400, "nugen": 422}


class ParsedBody(NamedTuple):
    """A body that passed every check.

    Attributes:
        model: The model's id; aliases are resolved.
        rule: Its rules.
        texts: The texts, cut where the vendor cuts them.
        options: The other fields that have an effect. Ignored ones are left out.
    """

    model: str
    rule: Rule
    texts: list[str]
    options: Mapping[str, Any]


def parse_body(
    provider: Provider, content: bytes, *, strict: Strictness, withdrawn: Collection[str]
) -> ParsedBody:
    """Check a body against the rules of its model; raises Refusal."""
    body = _read_json(provider, content)
    model, rule = _find_model(provider, body.pop("model"), strict, withdrawn)
    texts = _read_texts(provider, rule, body.pop("input"))
    options = _read_options(provider, rule, body, strict)
    return ParsedBody(model, rule, _apply_limits(rule, texts, options), options)


def _refuse_if(provider: Provider, field: str, problem: str | None) -> None:
    if problem is not None:
        raise Refusal(_INVALID[provider], problem, field)


def _read_json(provider: Provider, content: bytes) -> dict[str, Any]:
    try:
        body = json.loads(content, parse_float=_number, parse_constant=_refuse_constant)
    except (ValueError, RecursionError):
        raise Refusal(_INVALID[provider], "Expected valid JSON", "body") from None
    if not isinstance(body, dict):
        raise Refusal(_INVALID[provider], f"Expected object, received {kind(body)}", "body")
    for name in ("model", "input"):
        _refuse_if(provider, name, None if name in body else "Required")
    return body


def _number(text: str) -> float:
    """Read 5.0 as the integer 5: JSON has one kind of number, and so has the gateway's language."""
    value = float(text)
    return int(value) if value.is_integer() else value


def _refuse_constant(name: str) -> object:
    raise ValueError(f"{name} is not JSON")


def _find_model(
    provider: Provider, name: object, strict: Strictness, withdrawn: Collection[str]
) -> tuple[str, Rule]:
    if not isinstance(name, str):
        problem = f"Expected string, received {kind(name)}"
        raise Refusal(_INVALID[provider], problem, "model")
    known = MODELS[provider]
    model = ALIASES[provider].get(name, name)
    if model in withdrawn or name in withdrawn:
        raise Refusal(404)
    if model in known:
        return model, known[model]
    if not strict or model.startswith(EMULATED_PREFIX):
        return model, PLAIN[provider]
    expected = " | ".join(map(repr, known))
    problem = f"Invalid enum value. Expected {expected}, received {name!r}"
    raise Refusal(_INVALID[provider], problem, "model")


def _read_texts(provider: Provider, rule: Rule, value: object) -> list[str]:
    if isinstance(value, str):
        _refuse_if(provider, "input", _length_problem(value, 1, rule.limits.chars_of_string))
        return [value]
    if not isinstance(value, list) or not rule.arrays:
        raise Refusal(_INVALID[provider], f"Expected string, received {kind(value)}", "input")
    if not value:
        raise Refusal(_INVALID[provider], "Array must contain at least 1 element(s)", "input")
    least, most = rule.min_chars_of_item, rule.limits.chars_of_item
    for index, text in enumerate(value):
        _refuse_if(provider, f"input.{index}", _length_problem(text, least, most))
    return value


def _length_problem(text: object, low: int, high: int | None) -> str | None:
    if not isinstance(text, str):
        return f"Expected string, received {kind(text)}"
    if len(text) < low:
        return f"String must contain at least {low} character(s)"
    if high is not None and len(text) > high:
        return f"String must contain at most {high} character(s)"
    return None


def _read_options(
    provider: Provider, rule: Rule, body: Mapping[str, Any], strict: Strictness
) -> dict[str, Any]:
    """Check the fields that the model's schema lists, and drop or refuse the others.

    The one field that has an effect without being listed is `encoding_format`: families whose
    schema lacks it were seen to honour it.
    """
    options = {}
    for name, value in body.items():
        if check := rule.options.get(name):
            _refuse_if(provider, name, check(value))
            options[name] = value
        elif strict == "listed":
            _refuse_if(provider, name, f"Unrecognized key(s) in object: {name!r}")
        elif name == "encoding_format":
            options[name] = value
    return options


def _apply_limits(rule: Rule, texts: list[str], options: Mapping[str, Any]) -> list[str]:
    """Cut texts where the vendor cuts them, and refuse what exceeds the vendor's limits."""
    limits, wording = rule.limits, rule.wording
    _check_limit(wording.texts, len(texts), limits.texts)
    tokens = [count_tokens(text) for text in texts]
    if (most := limits.tokens_per_text) is not None:
        if rule.truncates and options.get("auto_truncate", True):
            texts = [cut_to_tokens(text, most) for text in texts] if max(tokens) > most else texts
            tokens = [min(n, most) for n in tokens]
        _check_limit(wording.tokens_per_text, max(tokens), most)
    _check_limit(wording.tokens_per_request, sum(tokens), limits.tokens_per_request)
    return texts


def _check_limit(wording: str, actual: int, limit: int | None) -> None:
    """Refuse with the vendor's message, which the gateway passes on unchanged."""
    if limit is not None and actual > limit:
        raise Refusal(400, wording.format(actual=actual, limit=limit))
