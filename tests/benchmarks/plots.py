"""Pictures of what the tables say, measured anew, one run for each point."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

from tests.benchmarks.bench import available, run
from tests.benchmarks.works import Work, bulk
from tests.benchmarks.works_felt import end_to_end, of_users

BOUNDS = (1, 2, 4, 8, 16, 32)
TEXTS = (5_000, 10_000, 20_000, 40_000)
USERS = (1, 10, 25, 50, 100, 200)
WAVES = {"latency": 0.1, "latency_per_text": 0.0005, "dimensions": 768}


def draw(url: str, path: Path, caption: str, rivals: Path | None, share: float = 1.0) -> None:
    """Measure and draw; needs matplotlib."""
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot as plt

    figure, ((waves, memory), (users, stores)) = plt.subplots(
        2, 2, figsize=(12, 9), constrained_layout=True
    )
    of_waves(waves, url, share)
    of_memory(memory, url, share)
    of_many_users(users, url, rivals)
    of_stores(stores, url, rivals, share)
    figure.suptitle(caption, fontsize=9)
    figure.savefig(path, dpi=110)


def of_waves(axes: Any, url: str, share: float) -> None:
    """Wall time against requests in flight."""
    texts = int(5_000 * share)
    case = bulk("plot", Work(texts=texts, dimensions=768), server=WAVES)
    for driver in ("floor", "floor-wave", "ours, LangChain", "ours, LlamaIndex"):
        times = [
            run(replace(case, work=replace(case.work, concurrency=bound)), driver, url)["wall"]
            for bound in BOUNDS
        ]
        axes.plot(BOUNDS, times, marker="o", label=driver)
    axes.set(xscale="log", yscale="log", xticks=BOUNDS, xticklabels=BOUNDS)
    axes.set(xlabel="most requests in flight", ylabel="seconds")
    axes.set_title(f"{texts:,} texts, 100 ms a request, 0.5 ms a text")
    axes.legend()


def of_memory(axes: Any, url: str, share: float) -> None:
    """Memory against texts."""
    counts = [int(texts * share) for texts in TEXTS]
    for driver in ("floor", "ours, LangChain", "ours, array()"):
        work = Work(batch=192, concurrency=8)
        peaks = [run(bulk("plot", replace(work, texts=n)), driver, url)["mb"] for n in counts]
        axes.plot(counts, peaks, marker="o", label=driver)
    bare = [texts * 1536 * 40 / 2**20 for texts in counts]
    axes.plot(counts, bare, "k--", label="40 bytes a number: Python's floats")
    axes.set(xlabel="texts of 1,536 numbers", ylabel="MB above the start", ylim=(0, None))
    axes.set_title("Peak memory of one call")
    axes.legend()


def of_many_users(axes: Any, url: str, rivals: Path | None) -> None:
    """Latency against users who ask at once."""
    cases = [of_users(count, "async") for count in USERS]
    for driver in available(cases[0], rivals):
        times = [run(case, driver, url, rivals)["p99"] * 1e3 for case in cases]
        axes.plot(USERS, times, marker="o", label=driver)
    axes.set(xscale="log", xticks=USERS, xticklabels=USERS, ylim=(0, None))
    axes.set(xlabel="users who ask at once, async", ylabel="ms, 99th percentile")
    axes.set_title("A query each, 100 ms a request, default options")
    axes.legend()


def of_stores(axes: Any, url: str, rivals: Path | None, share: float) -> None:
    """Wall time into each store, and what of it is the store's own."""
    cases = end_to_end(share)
    if rivals:
        bars(axes, [run(case, case.drivers[0], url, rivals)["wall"] for case in cases], -1, "rival")
    bars(axes, [run(case, case.drivers[1], url)["wall"] for case in cases], 0, "ours")
    bars(axes, [run(case, case.drivers[2], url)["wall"] for case in cases], 1, "the store alone")
    axes.set_yticks(range(len(cases)), [case.work.store for case in cases])
    axes.invert_yaxis()
    axes.set(xlabel="seconds")
    axes.set_title(f"{cases[0].work.texts:,} chunks into a vector store, 100 ms a request")
    axes.legend()


def bars(axes: Any, lengths: list[float], place: int, label: str) -> None:
    """Draw one bar for each store, beside the others of that store."""
    axes.barh([i + 0.27 * place for i in range(len(lengths))], lengths, 0.25, label=label)
