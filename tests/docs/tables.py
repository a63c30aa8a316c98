"""Generates tables of the documentation; `python -m tests.docs.tables` rewrites them."""

from __future__ import annotations

import inspect
import re
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from itertools import groupby
from pathlib import Path

from aimlapi_embeddings import EmbeddingsClient, Model, TaskType, supported_models
from aimlapi_embeddings._catalog.foreign_names import NOT_NEEDED, RENAMED
from tests.docs.code_blocks import PAGES
from tests.support.fault_matrix import MATRIX
from tests.support.fault_rows import Row
from tests.support.recording import CASSETTES, ORIGINS, count, read_all


def table(head: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    head = list(head)
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)


def models() -> str:
    return table(
        [
            "model",
            "family",
            "vector",
            "`dimensions`",
            "texts a request",
            "tokens a text",
            "USD per 1M tokens",
            "listed",
        ],
        (
            [
                "<br>".join(f"`{name}`" for name in (row.id, *row.aliases)),
                row.family.name,
                str(row.native_dimensions or "?"),
                _sizes(row),
                str(row.max_texts_per_request),
                f"{row.max_tokens_per_text:,}" if row.max_tokens_per_text else "?",
                f"{row.usd_per_million_tokens:g}" if row.usd_per_million_tokens else "?",
                f"until {row.retired}" if row.retired else "yes",
            ]
            for row in supported_models()
        ),
    )


def _sizes(row: Model) -> str:
    sizes = row.dimensions
    if not sizes:
        return "-"
    if isinstance(sizes, range):
        return f"1 to {sizes.stop - 1:,}" if sizes.stop < 2**31 else "any"
    return ", ".join(map(str, sizes))


def tasks() -> str:
    google = next(row.family for row in supported_models() if row.family.name == "google")
    rows = [
        [
            f"`{task.value}`" if task else "(none given)",
            f"`{pair['document']}`",
            f"`{pair['query']}`",
        ]
        for task, pair in google.tasks.items()
    ]
    rows.append([f"`{TaskType.NONE.value}`", "nothing", "nothing"])
    return table(["`task_type`", "documents are sent as", "queries are sent as"], rows)


def roles() -> str:
    families = {row.family.name: row.family for row in supported_models()}.values()
    rows = []
    for family in families:
        said = family.tasks.get(None, {})
        field = family.role_field
        rows.append(
            [
                family.name,
                *(
                    f"`{field}: {said[role]}`"  # type: ignore[index]
                    if role in said  # type: ignore[comparison-overlap]
                    else f"“{prefix.strip()}” in front"
                    if (prefix := family.prefixes.get(role))  # type: ignore[call-overload]
                    else "-"
                    for role in ("document", "query")
                ),
            ]
        )
    return table(["family", "documents", "queries"], rows)


def recordings(folder: Path = CASSETTES) -> str:
    counts = count(read_all(folder))
    rows = [
        [
            family,
            str(counted.models),
            str(counted.cassettes),
            *(str(counted.origins[origin]) for origin in ORIGINS),
        ]
        for family, counted in counts.items()
    ]
    sums = (sum(int(row[i]) for row in rows) for i in range(1, len(rows[0])))
    origins = sum((counted.origins for counted in counts.values()), Counter[str]())
    replies = ", ".join(f"{origins[origin]} {origin}" for origin in ORIGINS)
    return f"Recorded replies: {replies}.\n\n" + table(
        ["family", "models", "cassettes", *(f"replies: {origin}" for origin in ORIGINS)],
        [*rows, ["all", *map(str, sums)]],
    )


def faults() -> str:
    return table(
        ["fault", "requests", "what you get"],
        (
            [f"{what}: {', '.join(row.how for row in rows)}", *outcome]
            for (what, *outcome), rows in groupby(
                MATRIX, key=lambda row: (row.what, f"{row.requests:,}", _outcome(row))
            )
        ),
    )


def _outcome(row: Row) -> str:
    if row.error is None:
        return "the vectors"
    kept = f", {len(row.kept)} of {row.texts:,} kept" if row.kept else ""
    return f"`{row.error.__name__}`{kept}"


# Options of the client that an adapter calls otherwise. A name that is not listed is the same.
LANGCHAIN_NAMES = {
    "api_key": ("api_key", "aimlapi_api_key"),
    "base_url": ("base_url", "aimlapi_api_base"),
    "batch_size": ("chunk_size", "batch_size"),
    "timeout": ("timeout", "request_timeout"),
    "headers": ("default_headers",),
    "extra_body": ("model_kwargs",),
    "async_http_client": ("http_async_client",),
    "provider": (),
}
LLAMA_INDEX_NAMES = {
    "model": ("model_name", "model"),
    "base_url": ("api_base", "base_url"),
    "max_concurrency": ("max_concurrency", "num_workers"),
    "headers": ("default_headers",),
    "extra_body": ("additional_kwargs",),
    "provider": (),
}


def options() -> str:
    described = dict(
        re.findall(
            r"^    (\w+): (.*?)(?=^    \w|\Z)",
            (inspect.getdoc(EmbeddingsClient) or "").split("Args:\n")[1].split("\nRaises:")[0],
            re.M | re.S,
        )
    )
    parameters = inspect.signature(EmbeddingsClient).parameters
    assert described.keys() == parameters.keys()
    return table(
        ["client", "LangChain", "LlamaIndex", "default", "meaning"],
        (
            [
                f"`{name}`",
                _names(name, LANGCHAIN_NAMES),
                _names(name, LLAMA_INDEX_NAMES),
                _default(parameters[name].default),
                " ".join(described[name].split()),
            ]
            for name in described
        ),
    )


def foreign() -> str:
    renamed = {name: f"the client's `{ours}`" for name, ours in RENAMED.items()}
    unneeded = {name: f"not needed: {why}" for name, why in NOT_NEEDED.items()}
    told = sorted({**renamed, **unneeded}.items(), key=lambda item: (item[1], item[0]))
    return table(
        ["there", "here"],
        (
            [", ".join(f"`{name}`" for name, _ in names), what]
            for what, names in groupby(told, key=lambda item: item[1])
        ),
    )


def _names(name: str, others: Mapping[str, tuple[str, ...]]) -> str:
    return ", ".join(f"`{other}`" for other in others[name]) or "-" if name in others else "="


def _default(value: object) -> str:
    if value is inspect.Parameter.empty:
        return "required"
    return f"{value:g}" if isinstance(value, int | float) and value is not False else f"`{value!r}`"


TABLES: dict[str, Callable[[], str]] = {
    "models": models,
    "tasks": tasks,
    "roles": roles,
    "recordings": recordings,
    "faults": faults,
    "options": options,
    "foreign": foreign,
}


def renewed(text: str) -> str:
    """Return the text of a page with current tables."""
    for name, write in TABLES.items():
        begin, end = f"<!-- {name} -->", f"<!-- /{name} -->"
        if begin in text:
            before, rest = text.split(begin)
            after = rest.split(end)[1]
            text = f"{before}{begin}\n{write()}\n{end}{after}"
    return text


def missing(names: Iterable[str], pages: Iterable[str]) -> set[str]:
    """Tell which tables stand on no page."""
    everything = "".join(pages)
    return {name for name in names if f"<!-- {name} -->" not in everything}


if __name__ == "__main__":
    for page in PAGES:
        page.write_text(renewed(page.read_text()))
