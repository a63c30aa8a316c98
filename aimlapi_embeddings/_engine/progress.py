"""A bar for people who wait."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from aimlapi_embeddings._types import Progress


@contextmanager
def progress_bar(description: str = "Embedding") -> Iterator[Progress]:
    """Show a tqdm bar, in texts; one line, in a terminal and in Jupyter.

    Raises:
        ImportError: tqdm is not installed.
    """
    try:
        from tqdm.auto import tqdm
    except ImportError as error:
        raise ImportError(
            'a progress bar needs tqdm: pip install "aimlapi-embeddings[langchain]" '
            "(or [llama-index]), or pass a callback"
        ) from error
    with tqdm(desc=description, unit=" texts") as bar:

        def move(done: int, total: int) -> None:
            bar.total = total
            bar.update(done - bar.n)

        yield move
