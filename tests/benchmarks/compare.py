"""Compare two versions: `python -m tests.benchmarks.compare OLD_CHECKOUT [--only W1,W3]`.

Runs what is ours in W1 to W6, the imports and the first call, once with the packages of this
checkout and once with those of another, in the same interpreter with the same dependencies and by
this checkout's benchmarks. The two take turns, and each round begins with the other one, so that a
machine that gets slower meanwhile favours neither. Compared with a copy of itself, a version shows
how much the machine scatters. Takes half an hour; nothing else should run. W7 to W10 are compared
where `--only` names them.
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import NamedTuple

from tests.benchmarks import bench, start
from tests.benchmarks.__main__ import chosen, machine
from tests.benchmarks.works import cases, growth
from tests.benchmarks.works_felt import felt

EARLIER = "W1,W1J,W2,W3,W4,W5,W6,start"
HEADINGS = (
    *("work", "figure", "before", "after", "x", "lowest to highest", "CPU x", "MB x"),
    *("requests", "slower than allowed"),
)


class Subject(NamedTuple):
    """Something that both versions do.

    Attributes:
        name: What, and through which surface.
        measure: Measures once, with the packages of `checkout`.
        judged: The figure that may not grow.
        slack: The most that its median ratio may be.
    """

    name: str
    measure: Callable[..., bench.Figures]
    judged: str
    slack: float = 1.05


class Pair(NamedTuple):
    """One round's figures of both versions."""

    before: bench.Figures
    after: bench.Figures

    def ratio(self, figure: str) -> float:
        return self.after[figure] / self.before[figure]


def subjects(url: str, share: float, only: str) -> Iterator[Subject]:
    """List what is compared."""
    for case in chosen([*cases(share), *growth(share), *felt(share)], only):
        for driver in case.drivers:
            if driver.startswith("ours"):
                name = f"{case.name}; {driver.removeprefix('ours, ')}"
                measure = partial(bench.run, case, driver, url)
                yield Subject(name, measure, case.judged.figure, case.slack)
    if "start" in only.split(","):
        for package, before, _ in start.IMPORTS:
            timed = partial(start.milliseconds, f"import {package}", before)
            yield Subject(f"import {package}", partial(in_seconds, timed), "wall")
        timed = partial(start.first_call, url)
        yield Subject("first call", partial(in_seconds, timed), "wall")


def in_seconds(milliseconds: Callable[..., float], checkout: Path) -> bench.Figures:
    return {"wall": milliseconds(checkout=checkout) / 1000}


def rounds(subject: Subject, old: Path, count: int) -> list[Pair]:
    """Measure both versions in turn, `count` times, each round in the other order."""
    pairs = []
    for turn in range(count):
        if turn % 2:
            after = subject.measure(checkout=bench.CHECKOUT)
            before = subject.measure(checkout=old)
        else:
            before = subject.measure(checkout=old)
            after = subject.measure(checkout=bench.CHECKOUT)
        pairs.append(Pair(before, after))
    return pairs


def line(subject: Subject, pairs: list[Pair]) -> str:
    """Write a subject's row: medians, and the median of the ratios round by round."""

    def median(figure: str, side: int) -> str:
        found = (pair[side].get(figure) for pair in pairs)
        return f"{statistics.median(each for each in found if each is not None):.3g}"

    def ratio(figure: str) -> str:
        measured = figure in pairs[0].before
        return f"{statistics.median(p.ratio(figure) for p in pairs):.2f}" if measured else "-"

    ratios = sorted(pair.ratio(subject.judged) for pair in pairs)
    sides = [median("requests", side) for side in (0, 1)] if "requests" in pairs[0].before else []
    worse = statistics.median(ratios) > subject.slack
    return bench.row(
        subject.name,
        f"{subject.judged}, {'MB' if subject.judged == 'mb' else 's'}",
        *(median(subject.judged, side) for side in (0, 1)),
        f"{statistics.median(ratios):.2f}",
        f"{ratios[0]:.2f} to {ratios[-1]:.2f}",
        ratio("cpu"),
        ratio("mb"),
        " to ".join(dict.fromkeys(sides)) or "-",
        f"yes: {subject.slack:.2f}" if worse else "",
    )


def check_import(checkout: Path) -> None:
    """Make sure that it is this checkout's packages that are measured, not an installed version."""
    found = subprocess.run(
        [sys.executable, "-P", "-c", "import aimlapi_embeddings as core; print(core.__file__)"],
        env=bench.importing_from(checkout),
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    if not Path(found.strip()).is_relative_to(checkout):
        raise SystemExit(f"{checkout} has no package: {found.strip()} was imported")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("old", type=Path, help="a checkout of the version to compare with")
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--share", type=float, default=1.0, help="of the texts; less is quicker")
    parser.add_argument("--only", default=EARLIER, help=f'default: "{EARLIER}"')
    options = parser.parse_args()
    old = options.old.resolve()
    for checkout in (old, bench.CHECKOUT):
        check_import(checkout)
    print(f"{machine()}; before: {old.name}; medians of {options.runs} runs.\n")
    print(bench.row(*HEADINGS))
    print(bench.row(*["---"] * len(HEADINGS)), flush=True)
    with bench.server() as url:
        for subject in subjects(url, options.share, options.only):
            print(line(subject, rounds(subject, old, options.runs)), flush=True)


if __name__ == "__main__":
    main()
