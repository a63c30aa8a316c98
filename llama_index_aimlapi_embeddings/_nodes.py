"""Which nodes does an error concern?"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

from llama_index.core.base.embeddings.base import Embedding
from llama_index.core.schema import BaseNode

from aimlapi_embeddings import AIMLAPIError

_MOST_NODES_NAMED = 5


@contextmanager
def name_nodes(
    nodes: Sequence[BaseNode], finished: Callable[[BaseException], Sequence[Embedding | None]]
) -> Iterator[None]:
    """Say which nodes and documents an error concerns, and keep the vectors that arrived.

    Args:
        nodes: One for each text.
        finished: Returns the vectors that an error has, by position; nothing where they are not
            the positions of the nodes.
    """
    try:
        yield
    except BaseException as error:
        arrived = finished(error)
        if len(arrived) != len(nodes):  # its positions are not those of the nodes
            raise
        for node, vector in zip(nodes, arrived, strict=True):
            if vector is not None:
                node.embedding = vector
        indices = getattr(error, "indices", ()) if isinstance(error, AIMLAPIError) else ()
        at_fault = [nodes[i] for i in indices]
        if at_fault:
            shown = "; ".join(map(_name, at_fault[:_MOST_NODES_NAMED]))
            more = len(at_fault) - _MOST_NODES_NAMED
            rest = f"; and {more} more" if more > 0 else ""
            error.args = (f"{error} Concerned: {shown}{rest}.", *error.args[1:])
        raise


def _name(node: BaseNode) -> str:
    document = f" of document {node.ref_doc_id!r}" if node.ref_doc_id else ""
    return f"node {node.node_id!r}{document}"
