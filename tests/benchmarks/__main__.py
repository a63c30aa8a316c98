"""Print all tables: `python -m tests.benchmarks [--only W7,W8] [--runs 5] [--rivals DIR]`.

DIR is a virtual environment made from rivals.txt; without it the rivals are left out. W3, W10, W15
and W16 need what the "test", "stores" and "engines" extras install. All takes an hour and a
half on two CPUs, W1 to W6 a third of it; nothing else should run.
"""

from __future__ import annotations

import argparse
import datetime
import os
import platform
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path

from tests.benchmarks import bench, plots, start
from tests.benchmarks.works import Case, cases, growth, questions
from tests.benchmarks.works_cached import cached
from tests.benchmarks.works_engines import engines
from tests.benchmarks.works_felt import felt
from tests.benchmarks.works_streams import streams


def machine() -> str:
    """Tell date and machine, which belong to every figure."""
    cpus = len(os.sched_getaffinity(0))
    today = datetime.datetime.now(tz=datetime.UTC).date()
    return f"{today}, {cpus} CPUs, {platform.machine()}, Python {platform.python_version()}"


def chosen(found: Iterable[Case], only: str) -> Iterator[Case]:
    """Take the cases whose name's first word is listed; all if none is."""
    names = only.split(",") if only else []
    return (case for case in found if not names or case.name.split()[0] in names)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--share", type=float, default=1.0, help="of the texts; less is quicker")
    parser.add_argument("--rivals", type=Path, help="environment with what rivals.txt lists")
    parser.add_argument("--only", default="", help='such as "W1,W7"; "start" is imports')
    instead = parser.add_mutually_exclusive_group()
    instead.add_argument("--questions", action="store_true", help="what else was asked, instead")
    instead.add_argument("--plots", type=Path, help="draw the pictures, instead")
    options = parser.parse_args()
    with bench.server() as url:
        if options.plots:
            plots.draw(url, options.plots, machine(), options.rivals, options.share)
            return
        print(f"{machine()}; medians of {options.runs} runs, ratios round by round.\n")
        share, failures = options.share, list[str]()
        goals = [*cases(share), *growth(share), *felt(share)]
        goals += [*cached(share), *streams(share), *engines(share)]
        for case in chosen(questions(share) if options.questions else goals, options.only):
            try:
                runs = bench.rounds(case, url, options.runs, options.rivals)
            except bench.Failed as error:  # the other tables take an hour, and are still wanted
                failures.append(f"### {case.name}\n\n{error}")
            else:
                print(bench.markdown(case, runs), flush=True)
        if not options.questions and (not options.only or "start" in options.only.split(",")):
            print(start.markdown(url, max(options.runs, 7)))
    if failures:
        sys.exit("\n\n".join(failures))


if __name__ == "__main__":
    main()
