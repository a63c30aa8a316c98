"""Search Python's own documentation with LangChain and with LlamaIndex.

    python3 -m venv .venv && .venv/bin/pip install -q -e ".[all]"
    .venv/bin/python notebooks/quickstart.py

The docstrings of the standard library, some 5,000, are parsed from its source files and indexed
once per framework; then both are asked the same questions. With AIMLAPI_API_KEY set, the live API
embeds them, for a few cents; without, an emulator on this machine stands in for it.
"""

from __future__ import annotations

import argparse
import ast
import os
import re
import sys
import sysconfig
import textwrap
import time
from collections.abc import Iterator, Mapping, Sequence, Set
from contextlib import contextmanager
from itertools import zip_longest
from pathlib import Path
from typing import Any, NamedTuple

from langchain_core.documents import Document
from langchain_core.prompt_values import PromptValue
from langchain_core.prompts import PromptTemplate
from langchain_core.retrievers import BaseRetriever
from langchain_core.runnables import Runnable, RunnablePassthrough
from langchain_core.vectorstores import InMemoryVectorStore
from llama_index.core import Document as LlamaDocument
from llama_index.core import VectorStoreIndex
from llama_index.core.ingestion import IngestionPipeline
from llama_index.core.node_parser import SentenceSplitter

from aimlapi_embeddings import Usage, emulator
from langchain_aimlapi_embeddings import AIMLAPIEmbeddings
from llama_index_aimlapi_embeddings import AIMLAPIEmbedding

MODEL = "text-multilingual-embedding-002"
QUESTIONS: Mapping[str, Set[str]] = {
    "How do I find the three largest elements of a dataset?": {"heapq.nlargest"},
    "How can I copy a whole directory tree to another place?": {"shutil.copytree"},
    "How do I make a random, URL-safe token?": {"secrets.token_urlsafe"},
    "Can I wrap a paragraph so that no line is longer than a given width?": {
        "textwrap.wrap",
        "textwrap.fill",
        "textwrap.TextWrapper",
    },
    "How do I guess the type of a file from its name or URL?": {
        "mimetypes.guess_type",
        "mimetypes.MimeTypes.guess_type",
    },
    "How do I wait for a coroutine, but with a timeout?": {
        "asyncio.tasks.wait_for",
        "asyncio.timeouts.timeout",
    },
}
"""What a person might ask of the standard library, and the names that are good answers."""

TOP = 3
ENOUGH = 5  # of the six, or the exit status tells CI that retrieval broke
SKIPPED = {"test", "tests", "idlelib", "lib2to3", "turtledemo", "site-packages", "dist-packages"}
RULE = "\n\n* * *\n\n"
# Counts words, since LlamaIndex's own tokenizer may want a download.
SPLITTER = SentenceSplitter(chunk_size=200, chunk_overlap=20, tokenizer=str.split)

Definition = ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef


class Passage(NamedTuple):
    """A text to be found, the name it goes by, and its first line that is prose."""

    name: str
    headline: str
    text: str


class Hit(NamedTuple):
    """The name of a passage that was found, and how near it is to the question."""

    name: str
    score: float


class Outcome(NamedTuple):
    """What one framework found for each question, and what that took."""

    hits: dict[str, list[Hit]]
    usage: Usage
    seconds: float


@contextmanager
def api() -> Iterator[dict[str, Any]]:
    """Yield the arguments that lead an adapter to the live API, or to an emulator."""
    if os.environ.get("AIMLAPI_API_KEY"):
        print(f"Live API: AIMLAPI_API_KEY is set; {MODEL} embeds.", flush=True)
        yield {}
        return
    os.environ["no_proxy"] = "127.0.0.1"  # a proxy would be asked for the emulator, too
    with emulator.running() as base_url:
        print(
            "Emulator: AIMLAPI_API_KEY is not set. "
            "These vectors are only lexical: words in common, no meaning.",
            flush=True,
        )
        yield {"api_key": "emulator", "base_url": base_url}


def search_with_langchain(
    passages: Sequence[Passage], questions: Mapping[str, Set[str]], connection: dict[str, Any]
) -> Outcome:
    """Index the passages in LangChain's own vector store, then ask."""
    started = time.perf_counter()
    embeddings = AIMLAPIEmbeddings(model=MODEL, show_progress_bar=True, **connection)
    with embeddings.client as client:
        store = InMemoryVectorStore(embeddings)
        store.add_documents([Document(p.text, metadata={"name": p.name}) for p in passages])
        hits = {
            question: [
                Hit(document.metadata["name"], score)
                for document, score in store.similarity_search_with_score(question, k=TOP)
            ]
            for question in questions
        }
        question = next(iter(questions))
        answer = answering_chain(store.as_retriever(search_kwargs={"k": TOP})).invoke(question)
        print(f"\n{question} (retriever | prompt | quote_nearest)\n{answer}\n", flush=True)
    return Outcome(hits, client.usage, time.perf_counter() - started)


def answering_chain(retriever: BaseRetriever) -> Runnable[str, str]:
    """Compose the chain that takes a question to an answer, with no chat model in it."""
    prompt = PromptTemplate.from_template(
        "Quote what answers the question." + RULE + "{passages}" + RULE + "{question}"
    )
    passages = retriever | (lambda documents: RULE.join(d.page_content for d in documents))
    return {"passages": passages, "question": RunnablePassthrough()} | prompt | quote_nearest


def quote_nearest(prompt: PromptValue) -> str:
    """Stand where a chat model would, and quote the first passage: it is the nearest."""
    _, nearest, *_ = prompt.to_string().split(RULE)
    return textwrap.fill(textwrap.shorten(nearest, 300), initial_indent="> ", subsequent_indent="> ")


def search_with_llama_index(
    passages: Sequence[Passage], questions: Mapping[str, Set[str]], connection: dict[str, Any]
) -> Outcome:
    """Split the passages into nodes, embed those in a pipeline, index them, then ask."""
    started = time.perf_counter()
    embedding = AIMLAPIEmbedding(model_name=MODEL, show_progress=True, **connection)
    with embedding.client as client:
        pipeline = IngestionPipeline(transformations=[SPLITTER, embedding], disable_cache=True)
        nodes = pipeline.run(
            documents=[LlamaDocument(text=p.text, metadata={"name": p.name}) for p in passages]
        )
        index = VectorStoreIndex(nodes, embed_model=embedding)
        retriever = index.as_retriever(similarity_top_k=TOP)
        hits = {
            question: [
                Hit(found.metadata["name"], found.get_score())
                for found in retriever.retrieve(question)
            ]
            for question in questions
        }
    return Outcome(hits, client.usage, time.perf_counter() - started)


def read_docstrings(root: Path) -> Iterator[Passage]:
    """Parse the modules below a folder, importing none of them."""
    for path in files(root, ".py"):
        parts = [p for p in path.relative_to(root).with_suffix("").parts if p != "__init__"]
        try:
            module = ast.parse(path.read_bytes())
        except (SyntaxError, ValueError) as error:
            print(f"{path} is left out: {error}", flush=True)
        else:
            yield from documented(module, ".".join(parts) or root.name)


def documented(node: Definition, name: str) -> Iterator[Passage]:
    """Yield a node, if it has a docstring, and the public classes and functions in it."""
    match node:
        case ast.FunctionDef() | ast.AsyncFunctionDef():
            signature, children = f"{name}({ast.unparse(node.args)})", list[ast.stmt]()
        case _:
            signature, children = name, node.body
    if docstring := ast.get_docstring(node):
        yield Passage(name, docstring.splitlines()[0], f"{signature}\n\n{docstring}")
    for child in children:
        if isinstance(child, Definition) and not child.name.startswith("_"):
            yield from documented(child, f"{name}.{child.name}")


def read_prose(root: Path) -> Iterator[Passage]:
    """Cut the texts below a folder at their Markdown headings, and what is long into pieces."""
    for path in files(root, ".md", ".txt"):
        text = path.read_text(encoding="utf-8", errors="replace")
        sections = re.split(r"^(?=#+ )", text, flags=re.MULTILINE)
        pieces = (piece for section in sections for piece in SPLITTER.split_text(section))
        for number, piece in enumerate(filter(None, pieces), start=1):
            name = f"{path.relative_to(root)}#{number}"
            yield Passage(name, piece.splitlines()[0].lstrip("# "), piece)


def files(root: Path, *suffixes: str) -> Iterator[Path]:
    """Find files by suffix, except in hidden folders, tests and installed packages."""
    for path in sorted(root.rglob("*")):
        parts = path.relative_to(root).parts
        hidden = any(part.startswith(".") for part in parts)
        if path.suffix in suffixes and not hidden and SKIPPED.isdisjoint(parts):
            yield path


def print_hits(questions: Mapping[str, Set[str]], outcomes: Mapping[str, Outcome]) -> None:
    """Show the hits of the frameworks side by side; a star marks an accepted answer."""
    print("".join(f"    {framework:<46}" for framework in outcomes).rstrip())
    for question, accepted in questions.items():
        columns = [
            [
                f"{'*' if hit.name in accepted else ' '} {hit.score:.3f} {hit.name}"
                for hit in outcome.hits[question]
            ]
            for outcome in outcomes.values()
        ]
        print(f"\n{question}")
        for row in zip_longest(*columns, fillvalue=""):
            print("".join(f"  {cell:<48.46}" for cell in row).rstrip())


def print_cost(outcomes: Mapping[str, Outcome]) -> None:
    """Show what each framework's client has used."""
    print(f"\n{'':<12}{'requests':>10}{'tokens':>12}{'credits':>12}{'seconds':>10}")
    for framework, (_, usage, seconds) in outcomes.items():
        counts = f"{usage.requests:>10,}{usage.total_tokens:>12,}{usage.credits_used:>12,}"
        print(f"{framework:<12}{counts}{seconds:>10.1f}")


def main() -> int:
    """Read the options, embed, ask and report; 1 if the emulator answers too few questions."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "folder",
        nargs="?",
        type=Path,
        help="index its .txt and .md files and the docstrings of its .py files instead",
    )
    parser.add_argument(
        "--ask",
        action="append",
        default=[],
        metavar="QUESTION",
        help="ask this (may be repeated); a folder is else asked for some of its own headlines",
    )
    options = parser.parse_args()

    if options.folder:
        found = [*read_prose(options.folder), *read_docstrings(options.folder)]
    else:
        found = [*read_docstrings(Path(sysconfig.get_path("stdlib")))]
    passages = list({passage.name: passage for passage in found}.values())
    if not passages:
        parser.error("nothing to index: no texts and no docstrings were found")
    questions: Mapping[str, Set[str]] = QUESTIONS
    if options.ask:
        questions = dict.fromkeys(options.ask, frozenset())
    elif options.folder:
        questions = {p.headline: {p.name} for p in passages[:: -(-len(passages) // 6)]}

    with api() as connection:
        print(f"{len(passages):,} passages, embedded once for each framework.", flush=True)
        outcomes = {
            "LangChain": search_with_langchain(passages, questions, connection),
            "LlamaIndex": search_with_llama_index(passages, questions, connection),
        }
    print_hits(questions, outcomes)
    print_cost(outcomes)
    if options.ask:
        return 0
    scores = {
        framework: sum(
            any(hit.name in accepted for hit in outcome.hits[question])
            for question, accepted in questions.items()
        )
        for framework, outcome in outcomes.items()
    }
    told = ", ".join(f"{n} of {len(questions)} ({framework})" for framework, n in scores.items())
    print(f"\nAccepted answer among the first three hits: {told}")
    return int(bool(connection) and not options.folder and min(scores.values()) < ENOUGH)


if __name__ == "__main__":
    sys.exit(main())
