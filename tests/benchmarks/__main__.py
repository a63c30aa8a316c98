"""Print all tables: `python -m tests.benchmarks [--runs 5] [--rivals DIR] [--plots FILE]`.

DIR holds one virtual environment for each rival, named like its driver (see drivers.py), with that
package, NumPy and nothing of ours in it. Takes a quarter of an hour on two CPUs; nothing else
should run.
"""

from __future__ import annotations

import argparse
import datetime
import platform
from pathlib import Path

from tests.benchmarks import bench, plots, start
from tests.benchmarks.works import cases, growth, questions


def machine() -> str:
    """Tell date and machine, which belong to every figure."""
    cpus = len(bench.os.sched_getaffinity(0))
    today = datetime.datetime.now(tz=datetime.UTC).date()
    return f"{today}, {cpus} CPUs, {platform.machine()}, Python {platform.python_version()}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--share", type=float, default=1.0, help="of the texts; less is quicker")
    parser.add_argument("--rivals", type=Path)
    parser.add_argument("--plots", type=Path)
    parser.add_argument("--only", default="", help="start of a case's name")
    parser.add_argument("--questions", action="store_true", help="what else was asked, instead")
    options = parser.parse_args()
    print(f"{machine()}; medians of {options.runs} runs, ratios round by round.\n")
    with bench.server() as url:
        goals = [*cases(options.share), *growth(options.share)]
        for case in questions(options.share) if options.questions else goals:
            if case.name.startswith(options.only):
                table = bench.rounds(case, url, options.runs, options.rivals)
                print(bench.markdown(case, table), flush=True)
        if not options.only and not options.questions:
            print(start.markdown(url, max(options.runs, 7)))
        if options.plots:
            plots.draw(url, options.plots, machine())


if __name__ == "__main__":
    main()
