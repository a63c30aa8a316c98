"""Search Python's own documentation with LangChain and with LlamaIndex.

    python3 -m venv .venv && .venv/bin/pip install -q -e ".[all]"
    .venv/bin/python notebooks/quickstart.py

The docstrings of the standard library, more than 5,000, are read from its source files and indexed
once by each framework; then both are asked the same questions. With AIMLAPI_API_KEY set the live
API embeds them, for less than ten cents; without it an emulator on this machine stands in.
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
from collections.abc import Iterator, Mapping, Set
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

Passage = tuple[str, str]  # a name, and the text that goes by it
Questions = Mapping[str, Set[str]]  # to each the names that answer it, where they are known
Function = ast.FunctionDef | ast.AsyncFunctionDef

MODEL = "text-multilingual-embedding-002"
QUESTIONS: Questions = {
    "How do I find the three largest elements of a dataset?": {"heapq.nlargest"},
    "How can I copy a whole directory tree to another place?": {"shutil.copytree"},
    "How do I wrap a paragraph to a given width?": {"textwrap.wrap", "textwrap.fill"},
    "How do I guess the type of a file from its name or URL?": {
        "mimetypes.guess_type",
        "mimetypes.guess_file_type",
    },
    "How can I prompt for a password without showing it?": {"getpass", "getpass.unix_getpass"},
    "How do I wait for a coroutine, but with a timeout?": {"asyncio.tasks.wait_for"},
}
ENOUGH = 5  # answered of these six; with fewer, the exit status tells CI that retrieval broke
TOP = 3
RULE = "\n\n* * *\n\n"
SKIPPED = {"test", "tests", "idlelib", "lib2to3", "turtledemo", "site-packages", "dist-packages"}
# Words are counted because the tokens that LlamaIndex would count may need a download.
SPLITTER = SentenceSplitter(chunk_size=200, chunk_overlap=20, tokenizer=str.split)


class Outcome(NamedTuple):
    """The best hits for each question, by name and score, and what it took to find them."""

    hits: dict[str, list[tuple[str, float]]]
    usage: Usage
    seconds: float


@contextmanager
def api() -> Iterator[dict[str, Any]]:
    """Yield the arguments that lead an adapter to the live API, or to an emulator."""
    if os.environ.get("AIMLAPI_API_KEY"):
        base_url = os.environ.get("AIMLAPI_API_BASE", "https://api.aimlapi.com")
        print(f"Live API, as AIMLAPI_API_KEY is set: {base_url} embeds.", flush=True)
        yield {}
        return
    with emulator.running() as base_url:
        print(
            "Emulator, as AIMLAPI_API_KEY is not set: its vectors are only lexical "
            "(words in common, no meaning).",
            flush=True,
        )
        yield {"api_key": "emulator", "base_url": base_url}


def ask_langchain(passages: list[Passage], questions: Questions, **connection: Any) -> Outcome:
    """Embed the passages into LangChain's own vector store, then ask."""
    started = time.perf_counter()
    embeddings = AIMLAPIEmbeddings(model=MODEL, show_progress_bar=True, **connection)
    with embeddings.client as client:
        store = InMemoryVectorStore(embeddings)
        store.add_documents(
            [Document(f"{name}\n\n{text}", metadata={"name": name}) for name, text in passages]
        )
        hits = {
            question: [
                (document.metadata["name"], score)
                for document, score in store.similarity_search_with_score(question, k=TOP)
            ]
            for question in questions
        }
        chain = answering_chain(store.as_retriever(search_kwargs={"k": TOP}))
        question = next(iter(questions))
        print(f'\nA whole chain, asked "{question}", quotes:\n{chain.invoke(question)}', flush=True)
    return Outcome(hits, client.usage, time.perf_counter() - started)


def answering_chain(retriever: BaseRetriever) -> Runnable[str, str]:
    """Compose the chain from a question to its answer."""
    prompt = PromptTemplate.from_template("Quote what answers: {question}" + RULE + "{passages}")
    passages = retriever | (lambda found: RULE.join(document.page_content for document in found))
    return {"passages": passages, "question": RunnablePassthrough()} | prompt | quote_nearest


def quote_nearest(prompt: PromptValue) -> str:
    """Stand where a chat model would, and quote the first passage: it is the nearest."""
    _, nearest, *_ = prompt.to_string().split(RULE)
    return textwrap.fill(textwrap.shorten(nearest, 300, placeholder=" ..."), 96)


def ask_llama_index(passages: list[Passage], questions: Questions, **connection: Any) -> Outcome:
    """Split the passages into nodes and embed those, in a pipeline; index them, then ask."""
    started = time.perf_counter()
    embedding = AIMLAPIEmbedding(model_name=MODEL, show_progress=True, **connection)
    with embedding.client as client:
        pipeline = IngestionPipeline(transformations=[SPLITTER, embedding])
        nodes = pipeline.run(  # which embeds metadata with the text, so each node has the name
            documents=[LlamaDocument(text=text, metadata={"name": name}) for name, text in passages]
        )
        index = VectorStoreIndex(nodes, embed_model=embedding)
        retriever = index.as_retriever(similarity_top_k=TOP)
        hits = {
            question: [
                (hit.metadata["name"], hit.get_score()) for hit in retriever.retrieve(question)
            ]
            for question in questions
        }
    return Outcome(hits, client.usage, time.perf_counter() - started)


def read_docstrings(root: Path) -> Iterator[Passage]:
    """Parse the modules below a folder; none is imported."""
    for path in files(root, ".py"):
        parts = path.relative_to(root).with_suffix("").parts
        name = ".".join(part for part in parts if part != "__init__") or root.name
        try:
            yield from documented(ast.parse(path.read_bytes(), path), name)
        except (SyntaxError, ValueError) as error:
            print(f"{path} is left out: {error}", flush=True)


def documented(node: ast.Module | ast.ClassDef | Function, name: str) -> Iterator[Passage]:
    """Yield what a definition says about itself, and about the public ones inside it."""
    signature = f"\n\n{name}({ast.unparse(node.args)})" if isinstance(node, Function) else ""
    if docstring := ast.get_docstring(node):
        yield name, docstring + signature
    for child in [] if isinstance(node, Function) else node.body:
        if isinstance(child, ast.ClassDef | Function) and not child.name.startswith("_"):
            yield from documented(child, f"{name}.{child.name}")


def read_prose(root: Path) -> Iterator[Passage]:
    """Cut texts at their Markdown headings, and what is long between those into pieces."""
    for path in files(root, ".md", ".txt"):
        text = path.read_text(encoding="utf-8", errors="replace")
        sections = re.split(r"^(?=#+ )", text, flags=re.MULTILINE)
        pieces = (piece for section in sections for piece in SPLITTER.split_text(section))
        for number, piece in enumerate(filter(None, pieces), start=1):
            yield f"{path.relative_to(root)}#{number}", piece


def files(root: Path, *suffixes: str) -> Iterator[Path]:
    """Find files by suffix, except in hidden folders, tests and installed packages."""
    for folder, subfolders, names in os.walk(root):
        subfolders[:] = sorted(f for f in subfolders if f not in SKIPPED and f[0] != ".")
        yield from (Path(folder, name) for name in sorted(names) if name.endswith(suffixes))


def headlines(passages: list[Passage]) -> Questions:
    """Make about six questions of the first lines of passages, each answered by its own."""
    chosen = passages[:: -(-len(passages) // 6)]
    return {text.lstrip("# ").partition("\n")[0] or name: {name} for name, text in chosen}


def report(questions: Questions, outcomes: dict[str, Outcome]) -> list[int]:
    """Print hits side by side, accepted ones starred, and costs; count the answered questions."""
    print("\n" + "".join(f"          {framework:<40}" for framework in outcomes).rstrip())
    answered = dict.fromkeys(outcomes, 0)
    for question, accepted in questions.items():
        columns = []
        for framework, outcome in outcomes.items():
            found = outcome.hits[question]
            columns.append([f"{' *'[hit in accepted]} {score:.3f}  {hit}" for hit, score in found])
            answered[framework] += any(hit in accepted for hit, _ in found)
        print(f"\n{question}")
        for row in zip_longest(*columns, fillvalue=""):
            print("".join(f"{cell:<50.48}" for cell in row).rstrip())

    print(f"\n{'':<10}{'requests':>10}{'tokens':>12}{'credits':>12}{'seconds':>10}")
    for framework, (_, usage, seconds) in outcomes.items():
        counts = f"{usage.requests:>10,}{usage.total_tokens:>12,}{usage.credits_used:>12,}"
        print(f"{framework:<10}{counts}{seconds:>10.1f}")
    if any(questions.values()):
        told = ", ".join(f"{n} of {len(questions)} ({name})" for name, n in answered.items())
        print(f"\naccepted answer among the first three hits: {told}")
    return list(answered.values())


def main() -> int:
    """Index and ask what the command line says; 1 if the emulator answers too few questions."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "folder",
        nargs="?",
        type=Path,
        help="index its .txt and .md files and the docstrings of its .py files instead, and ask "
        "some of their own first lines",
    )
    parser.add_argument(
        "--ask", action="append", metavar="QUESTION", help="ask this instead; may be repeated"
    )
    options = parser.parse_args()

    with api() as connection:
        passages = list(read_docstrings(options.folder or Path(sysconfig.get_path("stdlib"))))
        if options.folder:
            passages += read_prose(options.folder)
        if not passages:
            parser.error("nothing to index: neither texts nor docstrings were found")
        questions = headlines(passages) if options.folder else QUESTIONS
        if options.ask:
            questions = dict.fromkeys(options.ask, frozenset())
        print(f"Indexing {len(passages):,} passages, once with each framework.", flush=True)
        outcomes = {
            "LangChain": ask_langchain(passages, questions, **connection),
            "LlamaIndex": ask_llama_index(passages, questions, **connection),
        }
    answered = report(questions, outcomes)
    return int(bool(connection) and questions is QUESTIONS and min(answered) < ENOUGH)


if __name__ == "__main__":
    sys.exit(main())
