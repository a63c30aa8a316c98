"""Generates the README's tables; `python -m tests.docs.readme_tables` rewrites them."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterable
from itertools import groupby
from pathlib import Path

from aimlapi_embeddings import Model, TaskType, supported_models
from tests.support.fault_matrix import MATRIX
from tests.support.fault_rows import Row
from tests.support.recording import CASSETTES, ORIGINS, count, read_all

README = Path(__file__).parents[2] / "README.md"


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


TABLES: dict[str, Callable[[], str]] = {
    "models": models,
    "tasks": tasks,
    "roles": roles,
    "recordings": recordings,
    "faults": faults,
}


def renewed(text: str) -> str:
    """Return the text of a README with current tables."""
    for name, write in TABLES.items():
        begin, end = f"<!-- {name} -->", f"<!-- /{name} -->"
        pattern = re.compile(f"{begin}.*?{end}", re.S)
        assert len(pattern.findall(text)) == 1, f"the README has no place for {name}"
        text = pattern.sub(lambda _, n=name, w=write: f"<!-- {n} -->\n{w()}\n<!-- /{n} -->", text)  # type: ignore[misc]
    return text


if __name__ == "__main__":
    README.write_text(renewed(README.read_text()))
