"""Servers, fresh processes, rounds, medians, ratios."""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

from tests.benchmarks.works import Case, Column

HERE = Path(__file__).parent
CHECKOUT = HERE.parents[1]
Figures = dict[str, float]
Runs = dict[str, list[Figures]]


def pinned(cpu: int) -> Any:
    """Make a function that ties a new process to a CPU, where there are several."""
    several = (os.cpu_count() or 1) > 1
    return (lambda: os.sched_setaffinity(0, {cpu})) if several else None


def importing_from(checkout: Path) -> dict[str, str]:
    """Make the environment of a process that imports our packages from a checkout."""
    return {**os.environ, "PYTHONPATH": str(checkout)}


@contextmanager
def server() -> Iterator[str]:
    """Run the server on a CPU of its own, and yield its base URL."""
    process = subprocess.Popen(
        [sys.executable, HERE / "server.py"],
        stdout=subprocess.PIPE,
        text=True,
        preexec_fn=pinned(1),
    )
    try:
        assert process.stdout is not None
        yield f"http://127.0.0.1:{int(process.stdout.readline())}"
    finally:
        process.kill()
        process.wait()
        process.stdout.close()


def ask(url: str, body: Mapping[str, Any] | None = None) -> Any:
    """GET, or POST a body."""
    data = None if body is None else json.dumps(body).encode()
    with urllib.request.urlopen(urllib.request.Request(url, data)) as reply:
        return json.load(reply)


def of_this_repository(driver: str) -> bool:
    """Tell whether a driver needs nothing but this repository and its extras."""
    return driver.startswith(("ours", "floor", "vectors at hand"))


def available(case: Case, rivals: Path | None) -> list[str]:
    """List the drivers that can run: the rivals where their environment was given."""
    return [each for each in case.drivers if rivals or of_this_repository(each)]


def run(
    case: Case, driver: str, url: str, rivals: Path | None = None, checkout: Path = CHECKOUT
) -> Figures:
    """Measure one driver once, in a fresh process.

    Args:
        case: What is measured.
        driver: By whom.
        url: Where the server is.
        rivals: The virtual environment that has the rivals' packages.
        checkout: The folder that our packages are imported from.
    """
    ask(f"{url}/reset", {"dimensions": case.work.dimensions, **case.server})
    python = sys.executable
    if not of_this_repository(driver):
        assert rivals is not None, f"{driver} needs --rivals"
        python = str(rivals / "bin" / "python")
    done = subprocess.run(
        [python, HERE / "measure.py", driver, json.dumps(asdict(case.work)), f"{url}/v1"],
        capture_output=True,
        text=True,
        env=importing_from(checkout),
        preexec_fn=pinned(0),
        timeout=900,
        check=False,
    )
    if done.returncode:
        raise Failed(f"{driver} failed {case.name}: {done.stderr[-1500:]}")
    stats = ask(f"{url}/stats")
    figures = json.loads(done.stdout.splitlines()[-1])
    return {
        **figures,
        # A stand-in sends nothing, to warm up neither.
        "requests": max(stats["requests"] - figures["warmed"], 0),
        "failed": stats["refused"] + stats["faults"],
        "at once": stats["peak"],
    }


def rounds(case: Case, url: str, count: int, rivals: Path | None = None) -> Runs:
    """Measure all drivers of a case in turn, `count` times."""
    found: Runs = {each: [] for each in available(case, rivals)}
    for _ in range(count):
        for each, runs in found.items():
            runs.append(run(case, each, url, rivals))
    return found


class Failed(Exception):
    """A driver's process ended with an error, whose last lines are the message."""


def value(column: Column, driver: str, runs: Runs) -> float | None:
    """Take the median of a figure, or of its ratios round by round.

    Returns:
        None if it was not measured, or what it is compared with was not.
    """
    other = column.over or column.share
    if (other and other not in runs) or column.figure not in runs[driver][0]:
        return None
    own = [each[column.figure] for each in runs[driver]]
    if other:
        pairs = zip(own, (each[column.figure] for each in runs[other]), strict=True)
        own = [(a / b if column.over else b / a) for a, b in pairs]
    return statistics.median(own) * column.scale


def written(number: float | None, digits: int) -> str:
    return "-" if number is None else f"{number:.{digits}f}"


def verdict(case: Case, driver: str, runs: Runs) -> str:
    """Tell a driver's goal, and whether it is met; nothing where it has none."""
    goal, reached = case.goals.get(driver), value(case.judged, driver, runs)
    if goal is None:
        return ""
    limit = written(goal * case.judged.scale, case.judged.digits)
    if reached is None:
        return f"{limit}: not measured"
    return f"{limit}: {'met' if reached <= goal * case.judged.scale else 'not met'}"


def row(*cells: str) -> str:
    """Write a line of a Markdown table."""
    return f"| {' | '.join(cells)} |"


def markdown(case: Case, runs: Runs) -> str:
    """Write the table of a case."""
    over = f" over {case.judged.over}" if case.judged.over else ""
    headings = [each.heading for each in case.columns]
    lines = [
        f"### {case.name}",
        "",
        row("", *headings, f"goal ({case.judged.heading}{over})"),
        row(*["---"] * (len(headings) + 2)),
    ]
    for driver in runs:
        cells = [written(value(each, driver, runs), each.digits) for each in case.columns]
        lines.append(row(driver, *cells, verdict(case, driver, runs)))
    return "\n".join([*lines, ""])
