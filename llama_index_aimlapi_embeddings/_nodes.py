"""What is no node, and which nodes does an error concern?"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from llama_index.core.base.embeddings.base import Embedding
from llama_index.core.schema import BaseNode, NodeWithScore

from aimlapi_embeddings import BadRequestError, InvalidInputError
from aimlapi_embeddings.adapters import nothing_finished

_MOST_NODES_NAMED = 5
# An index of the framework embeds the texts of its nodes, which an error cannot name then.
_REMEDY = (
    "Where these are texts of nodes: embed_model(nodes) names the nodes at fault and puts vectors "
    "into the others, which an index then takes as they are."
)


def listed(nodes: Any) -> Sequence[BaseNode]:
    """Check nodes before their texts are paid for, and read an iterator once.

    The framework would read it twice, and find out that a node takes no vector when it has one.

    Raises:
        InvalidInputError: Something is no node; says what to pass instead.
    """
    if isinstance(nodes, BaseNode | str) or not isinstance(nodes, Iterable):
        remedy = " Put the one node into a list: [node]." if isinstance(nodes, BaseNode) else ""
        raise _refusal(f"nodes must be a list of nodes, not {_kind(nodes)}.{remedy}", {}, ())
    found: Sequence[Any] = nodes if isinstance(nodes, Sequence) else [*nodes]
    wrong = {i: _why_none(node) for i, node in enumerate(found) if not isinstance(node, BaseNode)}
    if wrong:
        shown = "; ".join(f"nodes[{i}] {why}" for i, why in [*wrong.items()][:_MOST_NODES_NAMED])
        more = len(wrong) - _MOST_NODES_NAMED
        rest = f"; and {more} more" if more > 0 else ""
        raise _refusal(f"{shown}{rest}. Nothing was sent.", wrong, found)
    return found


def _why_none(item: object) -> str:
    if isinstance(item, NodeWithScore):
        return "is a NodeWithScore, which takes no vector; pass its .node"
    if isinstance(item, str):
        return "is a str; get_text_embedding_batch embeds texts"
    return f"is {_kind(item)}, and no node"


def _kind(item: object) -> str:
    kind = type(item).__name__
    return f"{'an' if kind[0].lower() in 'aeiou' else 'a'} {kind}"


def _refusal(said: str, why: Mapping[int, str], nodes: Sequence[object]) -> InvalidInputError:
    error = InvalidInputError(said, tuple(why), why)
    error.partial = nothing_finished(nodes)
    return error


def point_to_nodes(error: BaseException) -> None:
    """Note how to learn which nodes an error concerns that names texts."""
    if _refused_by(error):
        error.add_note(_REMEDY)


def _refused_by(error: BaseException) -> Iterable[int]:
    """Return the positions of the texts at fault, not of those in a request that failed."""
    return error.refused if isinstance(error, InvalidInputError | BadRequestError) else ()


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
        at_fault = [nodes[i] for i in _refused_by(error)]
        if at_fault:
            notes = getattr(error, "__notes__", ())
            error.__notes__ = [note for note in notes if note != _REMEDY]
            shown = "; ".join(map(_name, at_fault[:_MOST_NODES_NAMED]))
            more = len(at_fault) - _MOST_NODES_NAMED
            rest = f"; and {more} more" if more > 0 else ""
            error.args = (f"{error} Concerned: {shown}{rest}.", *error.args[1:])
        raise


def _name(node: BaseNode) -> str:
    document = f" of document {node.ref_doc_id!r}" if node.ref_doc_id else ""
    return f"node {node.node_id!r}{document}"
