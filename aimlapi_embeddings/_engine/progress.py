"""The progress of a call: a bar, or a function of the caller's."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext

from aimlapi_embeddings._errors import ConfigurationError
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


def progress_context(progress: Progress | bool | None) -> AbstractContextManager[Progress | None]:
    """Return a context manager that gives a callback: of a bar, or the user's; or gives None."""
    if progress is None or isinstance(progress, bool):
        return progress_bar() if progress else nullcontext()
    if not callable(progress):
        raise ConfigurationError(
            f"progress={progress!r} is neither True, for a bar, nor a function of (done, total)."
        )
    if inspect.iscoroutinefunction(progress) or inspect.iscoroutinefunction(
        type(progress).__call__
    ):
        raise ConfigurationError(
            "progress is a coroutine function, which nobody would await; pass a plain function. It "
            "is called in the event loop, where it can begin a task."
        )
    return nullcontext(progress)
