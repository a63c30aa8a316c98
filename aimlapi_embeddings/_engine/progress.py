"""The progress bar."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

from aimlapi_embeddings._types import Progress


@contextmanager
def progress_bar(description: str = "Embedding") -> Iterator[Progress]:
    """Show a tqdm bar, in texts, from the first callback on; in a terminal and in Jupyter.

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
    with ExitStack() as stack:
        bar = None

        def move(done: int, total: int) -> None:
            nonlocal bar
            if (
                bar is None
            ):  # tqdm draws a widget made without a total as a short bar that is always full
                bar = stack.enter_context(tqdm(desc=description, total=total, unit=" texts"))
            bar.total = total  # a stream reads on
            bar.update(done - bar.n)

        yield move
