"""Which nodes does an error concern?"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from llama_index.core.schema import BaseNode

from aimlapi_embeddings import AIMLAPIError

_MOST_NODES_NAMED = 5


@contextmanager
def name_nodes(nodes: Sequence[BaseNode]) -> Iterator[None]:
    """Say which nodes and documents an error concerns, and keep the vectors that arrived."""
    try:
        yield
    except AIMLAPIError as error:
        finished = error.partial.vectors if error.partial else []
        for node, vector in zip(nodes, finished, strict=False):
            if vector is not None:
                node.embedding = vector
        at_fault = [nodes[i] for i in getattr(error, "indices", ())]
        if at_fault:
            shown = "; ".join(map(_name, at_fault[:_MOST_NODES_NAMED]))
            more = len(at_fault) - _MOST_NODES_NAMED
            rest = f"; and {more} more" if more > 0 else ""
            error.args = (f"{error} Concerned: {shown}{rest}.", *error.args[1:])
        raise


def _name(node: BaseNode) -> str:
    document = f" of document {node.ref_doc_id!r}" if node.ref_doc_id else ""
    return f"node {node.node_id!r}{document}"
