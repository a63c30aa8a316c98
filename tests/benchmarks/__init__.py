"""How fast, beside a bare floor and beside rivals, in one run: `python -m tests.benchmarks`."""
