"""The gateway's model catalogue, `GET /v1/models`.

The shape and the filters `id` and `type` follow docs/api-references/service-endpoints/
models-catalogue.md of github aimlapi/api-docs @ 07330d40. `include` adds nothing here.
"""

from __future__ import annotations

import json
from collections.abc import Collection
from urllib.parse import parse_qs

from aimlapi_embeddings.emulator._models import ALIASES, MODELS
from aimlapi_embeddings.emulator._types import Reply

_TYPE = "openai/embeddings"

# As the documentation groups the models: Voyage's are under Anthropic.
_DEVELOPERS = {
    "alibaba": "Alibaba Cloud",
    "anthropic": "Anthropic",
    "google": "Google",
    "openai": "OpenAI",
}


def catalogue(query: str, withdrawn: Collection[str]) -> Reply:
    """List the models that the gateway lists today; retired ones are served but not listed.

    Args:
        query: The query string of the request. Values may be repeated or separated by commas, and
            their case is ignored.
        withdrawn: Ids, canonical or not, to leave out.
    """
    parameters = parse_qs(query)
    ids, types = (_values(parameters.get(name, [])) for name in ("id", "type"))
    entries = [
        entry
        for entry, names in _entries()
        if not names & set(withdrawn)
        and (not ids or ids & {name.lower() for name in names})
        and (not types or _TYPE in types)
    ]
    headers = {"content-type": "application/json; charset=utf-8"}
    return Reply(200, headers, json.dumps({"object": "list", "data": entries}).encode())


def _values(parameters: list[str]) -> set[str]:
    return {value.strip().lower() for text in parameters for value in text.split(",")}


def _entries() -> list[tuple[dict[str, object], set[str]]]:
    """Pair the entry of each listed model with all of its names."""
    entries = []
    for model, rule in MODELS["aimlapi"].items():
        if not rule.listed:
            continue
        canonical = rule.canonical_id(model)
        names = {model, *(name for name, id in ALIASES["aimlapi"].items() if id == model)}
        maker, _, name = canonical.partition("/")
        entry: dict[str, object] = {
            "id": canonical,
            "aliases": sorted(names - {canonical}),
            "type": _TYPE,
            "info": {"name": name, "developer": _DEVELOPERS[maker]},
            "tags": [],
        }
        entries.append((entry, names))
    return entries
