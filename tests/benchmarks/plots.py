"""Pictures of what the tables say: wall time against concurrency, memory against texts."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from tests.benchmarks.bench import run
from tests.benchmarks.works import Case, Work

BOUNDS = (1, 2, 4, 8, 16, 32)
TEXTS = (5_000, 10_000, 20_000, 40_000)
WAVES = {"latency": 0.1, "latency_per_text": 0.0005, "dimensions": 768}


def draw(url: str, path: Path, caption: str) -> None:
    """Measure and draw; needs matplotlib."""
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot as plt

    figure, (left, right) = plt.subplots(1, 2, figsize=(11, 4.2), constrained_layout=True)
    case = Case(name="", work=Work(texts=5_000, dimensions=768), server=WAVES)
    for driver in ("floor", "floor-wave", "ours, LangChain", "ours, LlamaIndex"):
        times = [
            run(replace(case, work=replace(case.work, concurrency=bound)), driver, url)["wall"]
            for bound in BOUNDS
        ]
        left.plot(BOUNDS, times, marker="o", label=driver)
    left.set(xscale="log", yscale="log", xticks=BOUNDS, xticklabels=BOUNDS)
    left.set(xlabel="requests in flight at most", ylabel="seconds")
    left.set_title("5,000 texts, 100 ms a request, 0.5 ms a text")
    left.legend()
    for driver in ("floor", "ours, LangChain", "ours, array()"):
        work = Work(batch=192, concurrency=8)
        peaks = [
            run(Case(name="", work=replace(work, texts=texts)), driver, url)["mb"]
            for texts in TEXTS
        ]
        right.plot(TEXTS, peaks, marker="o", label=driver)
    bare = [texts * 1536 * 40 / 2**20 for texts in TEXTS]
    right.plot(TEXTS, bare, "k--", label="40 bytes a number: Python's floats")
    right.set(xlabel="texts of 1,536 numbers", ylabel="MB above the start", ylim=(0, None))
    right.set_title("Peak memory of one call")
    right.legend()
    figure.suptitle(caption, fontsize=9)
    figure.savefig(path, dpi=110)
