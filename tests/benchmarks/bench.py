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

from tests.benchmarks.works import Case

HERE = Path(__file__).parent
Figures = dict[str, float]


def pinned(cpu: int) -> Any:
    """Make a function that ties a new process to a CPU, where there are several."""
    several = (os.cpu_count() or 1) > 1
    return (lambda: os.sched_setaffinity(0, {cpu})) if several else None


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


def python_of(driver: str, rivals: Path | None) -> str:
    """Find the interpreter that has a driver's packages: our own, or one for each rival."""
    own = rivals / driver / "bin" / "python" if rivals else None
    return str(own) if own is not None and own.exists() else sys.executable


def run(case: Case, driver: str, url: str, rivals: Path | None = None) -> Figures:
    """Measure one driver once, in a fresh process."""
    ask(f"{url}/reset", {"dimensions": case.work.dimensions, **case.server})
    done = subprocess.run(
        [
            python_of(driver, rivals),
            HERE / "measure.py",
            driver,
            json.dumps(asdict(case.work)),
            f"{url}/v1",
        ],
        capture_output=True,
        text=True,
        preexec_fn=pinned(0),
        timeout=600,
        check=False,
    )
    if done.returncode:
        raise RuntimeError(f"{driver} failed {case.name}: {done.stderr[-500:]}")
    stats = ask(f"{url}/stats")
    figures = json.loads(done.stdout)
    return {
        **figures,
        "requests": stats["requests"] - figures["warmed"],
        "failed": stats["refused"] + stats["faults"],
        "at once": stats["peak"],
    }


def available(driver: str, rivals: Path | None) -> bool:
    """Tell whether a rival's environment is there; the others always are."""
    ours = driver.startswith(("ours", "floor"))
    return ours or python_of(driver, rivals) != sys.executable


def rounds(case: Case, url: str, count: int, rivals: Path | None = None) -> dict[str, Figures]:
    """Measure all drivers of a case in turn, `count` times; medians, and ratios round by round."""
    drivers = [each for each in (case.base, *case.drivers) if available(each, rivals)]
    found: dict[str, list[Figures]] = {each: [] for each in drivers}
    for _ in range(count):
        for each in drivers:
            found[each].append(run(case, each, url, rivals))
    table = {}
    for each, runs in found.items():
        figures = {key: statistics.median(r[key] for r in runs) for key in runs[0]}
        for key in ("wall", "cpu"):
            ratios = [a[key] / b[key] for a, b in zip(runs, found[case.base], strict=True)]
            figures[f"{key} ratio"] = statistics.median(ratios)
        table[each] = figures
    return table


def markdown(case: Case, table: Mapping[str, Figures]) -> str:
    """Write the table of a case; memory as a share of what the lists alone take."""
    unit, scale = ("us", 1e6) if case.work.queries else ("s", 1.0)
    lines = [
        f"### {case.name}",
        "",
        f"| | wall {unit} | x | CPU {unit} | x | MB | x | requests | failed | at once "
        f"| goal ({case.figure}) |",
        "| --- | --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |",
    ]
    for driver, figures in table.items():
        goal = case.goals.get(driver)
        met, memory = "", "- | -"
        if "mb" in figures:
            memory = f"{figures['mb']:.0f} | {figures['mb'] / case.work.megabytes_of_floats:.2f}"
        if goal is not None:
            reached = figures[f"{case.figure} ratio"]
            met = f"{goal:.2f}: {'met' if reached <= goal else 'not met'}"
        lines.append(
            f"| {driver} | {figures['wall'] * scale:.3f} | {figures['wall ratio']:.2f} "
            f"| {figures['cpu'] * scale:.3f} | {figures['cpu ratio']:.2f} "
            f"| {memory} | {figures['requests']:.0f} | {figures['failed']:.0f} "
            f"| {figures['at once']:.0f} | {met} |"
        )
    return "\n".join([*lines, ""])
