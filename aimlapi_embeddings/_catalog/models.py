"""Which model is meant, and who serves it?"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace
from html import escape
from typing import Any

from aimlapi_embeddings._catalog.families import (
    ANY_SIZE,
    FAMILIES,
    GENERIC,
    MODELS,
    NUGEN,
    Family,
    Model,
)
from aimlapi_embeddings._catalog.providers import PROVIDERS, Provider
from aimlapi_embeddings._errors import ConfigurationError
from aimlapi_embeddings._warn import warn_user

# Share of two names that has to agree: one that is less alike would be a guess.
_NEAR = 0.6
_UNKNOWN = {"aimlapi": GENERIC, "nugen": NUGEN}


class Models(tuple[Model, ...]):
    """Models, which a notebook shows as a table."""

    __slots__ = ()

    def _repr_html_(self) -> str:
        """Return the table that notebooks show."""
        columns: dict[str, Callable[[Model], Any]] = {
            "model": lambda row: escape(row.id),
            "family": lambda row: row.family.name,
            "dimensions": lambda row: _shown(row.native_dimensions),
            "texts per request": lambda row: _shown(row.max_texts_per_request),
            "tokens per text": lambda row: _shown(row.max_tokens_per_text),
            "$ per million tokens": lambda row: row.usd_per_million_tokens or "",
            "retired": lambda row: row.retired or "",
        }
        head = "".join(f"<th>{name}</th>" for name in columns)
        rows = ("".join(f"<td>{cell(row)}</td>" for cell in columns.values()) for row in self)
        body = "".join(f"<tr>{row}</tr>" for row in rows)
        return f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"


def _shown(figure: int | None) -> str:
    return "" if figure is None else f"{figure:,}"


def supported_models() -> Models:
    """Return the known models, with their family, sizes and limits.

    Other ids work too: they get a plain OpenAI-shaped request, or the rules of `family=`.
    """
    return Models(MODELS)


def nearest(name: object, names: Iterable[str]) -> str | None:
    """Find the name that was most likely meant; None when none is near."""
    import difflib  # which takes a millisecond, and only mistakes need it

    found = difflib.get_close_matches(str(name), list(names), n=1, cutoff=_NEAR)
    return found[0] if found else None


def did_you_mean(name: object, names: Iterable[str]) -> str:
    """End a sentence with the name that was most likely meant, where one is near."""
    meant = nearest(name, names)
    return "." if meant is None else f"; did you mean {meant!r}?"


def one_of(what: str, value: object, choices: Iterable[str]) -> str:
    """Return value, or say which choices there are."""
    choices = list(choices)
    if isinstance(value, str) and value in choices:
        return str(value)
    raise ConfigurationError(
        f"{what}={value!r} is not one of {', '.join(map(repr, choices))}"
        f"{did_you_mean(value, choices)}"
    )


def find_provider(model: str, provider: str | None) -> Provider:
    """Take the provider as given, else from the model, else the gateway."""
    if provider is not None:
        return PROVIDERS[one_of("provider", provider, PROVIDERS)]
    known = _known(model)
    return PROVIDERS[known[0].family.provider if known else "aimlapi"]


def find_model(model: str, provider: Provider, family: str | None) -> Model:
    """Find the row of a model; warn when it is unknown or retired.

    An unknown id gets the rules of `family`, with the limits of that family's first model.
    """
    if not isinstance(model, str) or not model.strip() or not model.isprintable():
        raise ConfigurationError(
            f"model={model!r} is not a model id. There is no default, because vectors of different "
            "models cannot be compared: name the one your index was built with."
        )
    if model != model.strip():
        raise ConfigurationError(f"model={model!r} has blanks around it: write {model.strip()!r}.")
    rules = FAMILIES[one_of("family", family, FAMILIES)] if family is not None else None
    known = [row for row in _known(model) if row.family.provider == provider.name]
    if known:
        row = known[0]
        if rules not in (None, row.family):
            raise ConfigurationError(
                f"family={family!r} contradicts model={model!r}, which is of the family "
                f"{row.family.name!r}. Leave family out."
            )
        if row.retired:
            warn_user(
                f"{model} left the list of {provider.name} on {row.retired}; it may still be "
                f"served, or answer 404. A listed model to move to is {row.successor}; its vectors "
                "cannot be compared with those of an existing index, so embed it again."
            )
        return row
    if rules is None:
        if elsewhere := _known(model):
            other = elsewhere[0].family.provider
            raise ConfigurationError(
                f"model={model!r} is a model of {other} and not of {provider.name}: use "
                f"provider={other!r}."
            )
        rules = _UNKNOWN[provider.name]
        warn_user(
            f"{model} is not a model this version knows for {provider.name}; it gets a plain "
            f"request without a role. {suggest(model, provider)} If it follows the rules of a "
            "known family, pass family=..."
        )
    return _unknown_model(model, rules)


def family_of(model: str, provider: Provider) -> Family:
    """Tell whose rules a model gets when `family` is not given."""
    known = [row.family for row in _known(model) if row.family.provider == provider.name]
    return known[0] if known else _UNKNOWN[provider.name]


def suggest(model: str, provider: Provider) -> str:
    """Name the nearest id of a provider, or those that it lists."""
    rows = [row for row in MODELS if row.family.provider == provider.name]
    if near := nearest(model, [name for row in rows for name in names(row)]):
        return f"Did you mean {near}?"
    return f"Known ids are {', '.join(row.id for row in rows if not row.retired)}."


def is_known(model: Model, provider: Provider) -> bool:
    """Tell whether a row is of the table, or an unknown id that `family` gave rules to."""
    return model in MODELS or model.family is not _UNKNOWN[provider.name]


def names(row: Model) -> tuple[str, ...]:
    """List the id and the aliases of a row."""
    return (row.id, *row.aliases)


def _known(model: str) -> list[Model]:
    return [row for row in MODELS if isinstance(model, str) and model in names(row)]


def _unknown_model(model: str, family: Family) -> Model:
    pattern = next((row for row in MODELS if row.family is family and not row.retired), None)
    takes_dimensions = family is GENERIC or (pattern is not None and bool(pattern.dimensions))
    dimensions = ANY_SIZE if takes_dimensions else ()
    if pattern is None:
        return Model(id=model, family=family, dimensions=dimensions)
    return replace(
        pattern,
        id=model,
        aliases=(),
        native_dimensions=None,
        dimensions=dimensions,
        usd_per_million_tokens=None,
    )
