"""What the framework adapters share. Not imported by the core."""

from aimlapi_embeddings._engine.inputs import check_texts
from aimlapi_embeddings._engine.progress import progress_bar
from aimlapi_embeddings._protocol.pickling import check_picklable
from aimlapi_embeddings.adapters._arguments import check_arguments, hide_arguments

__all__ = [
    "check_arguments",
    "check_picklable",
    "check_texts",
    "hide_arguments",
    "progress_bar",
]
