"""What each model family takes, gives and allows. Data only.

A family is the set of models that want the same fields; a model is a row with its own numbers.
Rules that differ are values in these rows: no other module compares the names of families. Limits
guide the packing only: a text that exceeds one is sent alone and the server decides. Where the
gateway publishes no limit, the figure of the model's vendor is used.

Sources, by tag:
    LIVE    https://api.aimlapi.com/docs-yaml, as kept in github api-evangelist/aimlapi,
            openapi/aimlapi-embeddings-api-openapi.yml @ a682911d (2026-09-16)
    REPO    github aimlapi/api-docs @ f14fa72f (2026-08-21), docs/api-references/embedding-models
    OPENAI  https://platform.openai.com/docs/api-reference/embeddings/create (2026-11-20)
    VOYAGE  https://docs.voyageai.com/reference/embeddings-api (2026-11-20)
    VERTEX  https://cloud.google.com/vertex-ai/generative-ai/docs/embeddings/get-text-embeddings
            (2026-11-20)
    QWEN    https://www.alibabacloud.com/help/en/model-studio/text-embedding-synchronous-api
            (2026-03-24)
    BGE     github FlagOpen/FlagEmbedding, research/baai_general_embedding/README.md (2026-11-20)
    M2      https://huggingface.co/togethercomputer/m2-bert-80M-32k-retrieval (2026-11-20)
    NUGEN   https://api.nugen.in/openapi-public.json v25.4.20 (2026-11-20)
    COOK    github nugen-in/nugen-cookbook @ 981bb39 (2026-07-18)
    PLUGIN  github aimlapi/dify-aimlapi-plugin @ 19a25c0c, models/text_embedding/*.yaml
            (2026-11-26); the texts per request of qwen @ 0db9b6c2
    FEED    github aimlapi/api-docs @ 935f808e, model-deprecations.md (2026-11-26)
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Literal

from aimlapi_embeddings._types import Role, TaskType

ANY_SIZE = range(1, 2**31)
# No limit is published for these families; a request that proves too large is halved.
_MODEST = 100


@dataclass(frozen=True, slots=True, kw_only=True)
class TooLong:
    """How one value of the `too_long` option is carried out.

    Attributes:
        fields: JSON fields that make the server do it.
        here: What this package does before a text is sent: refuse it, or cut it. None where the
            server does as asked.
    """

    fields: Mapping[str, bool] = field(default_factory=dict)
    here: Literal["refuse", "cut"] | None = None


_BY_US: Mapping[str, TooLong] = {"error": TooLong(here="refuse"), "truncate": TooLong(here="cut")}
_SERVER_REFUSES: Mapping[str, TooLong] = {**_BY_US, "error": TooLong()}


@dataclass(frozen=True, slots=True, kw_only=True)
class Family:
    """The fields that models of one kind share.

    Attributes:
        name: As the `family` option spells it.
        provider: Key of `PROVIDERS`.
        role_field: JSON field that carries the role; None when roles are not sent.
        tasks: The value of that field, by task type (None: the default) and role. A missing role
            sends nothing; a missing task type is refused.
        prefixes: Text put in front of inputs, by role.
        title_field: JSON field for the title of documents, or None.
        encoding_formats: Values of the field `encoding_format`; empty when there is no such field.
        auto_encoding_format: The value to send unless told otherwise, or None to send nothing.
        too_long: How each value of the `too_long` option is carried out. Without one, the server
            decides.
        cuts_silently: Whether the server by default embeds only the beginning of a text that is
            too long, without a message.
        counts_characters: Whether the tokens of a reply and of the price are characters without
            white space.
        max_chars_alone: Longest text that a string may be, in UTF-16 code units, or None.
        max_chars_in_array: Longest text that may share a request, in the same; longer ones are sent
            alone, as a string.
        source: Where the above comes from.
    """

    name: str
    provider: str = "aimlapi"
    role_field: str | None = None
    tasks: Mapping[TaskType | None, Mapping[Role, str]] = field(default_factory=dict)
    prefixes: Mapping[Role, str] = field(default_factory=dict)
    title_field: str | None = None
    encoding_formats: tuple[str, ...] = ()
    auto_encoding_format: str | None = None
    too_long: Mapping[str, TooLong] = field(default_factory=lambda: _BY_US)
    cuts_silently: bool = False
    counts_characters: bool = False
    max_chars_alone: int | None = None
    max_chars_in_array: int | None = None
    source: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Model:
    """One model: its names, sizes and limits.

    Attributes:
        id: The id that documents use.
        family: The rules it shares.
        aliases: Other ids of the same model.
        native_dimensions: Floats per vector when `dimensions` is not asked for; None: unpublished.
        dimensions: Values that `dimensions` may take; empty when the field is refused.
        takes_arrays: Whether several texts fit in one request.
        max_texts_per_request: Texts.
        max_tokens_per_request: Tokens, estimated; None: unpublished.
        max_tokens_per_text: Tokens, estimated; None: unpublished.
        max_chars_alone: Of the family, where the model's own differs.
        usd_per_million_tokens: The provider's price in US dollars (PLUGIN); None: unpublished.
        retired: ISO date on which the model left the provider's list; None while it is listed. A
            model that left the list may still be served (FEED).
        successor: A listed model of the same provider, to move to.
    """

    id: str
    family: Family = field(repr=False)
    aliases: tuple[str, ...] = ()
    native_dimensions: int | None = None
    dimensions: Sequence[int] = ()
    takes_arrays: bool = True
    max_texts_per_request: int = _MODEST
    max_tokens_per_request: int | None = None
    max_tokens_per_text: int | None = None
    max_chars_alone: int | None = None
    usd_per_million_tokens: float | None = None
    retired: str | None = None
    successor: str | None = None


def _google_tasks() -> Mapping[TaskType | None, Mapping[Role, str]]:
    """Pair the task types: each document side with the query side that belongs to it.

    VERTEX: RETRIEVAL_QUERY, QUESTION_ANSWERING and FACT_VERIFICATION name the query's side, and
    the corpus they search is embedded as RETRIEVAL_DOCUMENT; the other three are symmetric.
    """
    retrieval: dict[Role, str] = {"document": "RETRIEVAL_DOCUMENT", "query": "RETRIEVAL_QUERY"}
    tasks: dict[TaskType | None, Mapping[Role, str]] = dict.fromkeys(
        (None, TaskType.RETRIEVAL_DOCUMENT, TaskType.RETRIEVAL_QUERY), retrieval
    )
    for task in (TaskType.SEMANTIC_SIMILARITY, TaskType.CLASSIFICATION, TaskType.CLUSTERING):
        tasks[task] = {"document": task.value, "query": task.value}
    for task in (TaskType.QUESTION_ANSWERING, TaskType.FACT_VERIFICATION):
        tasks[task] = {"document": "RETRIEVAL_DOCUMENT", "query": task.value}
    return tasks


GOOGLE = Family(
    name="google",
    role_field="task_type",  # LIVE: seven values, no default
    tasks=_google_tasks(),
    title_field="title",  # LIVE; VERTEX: only meaningful with RETRIEVAL_DOCUMENT
    too_long={  # LIVE: default true
        "error": TooLong(fields={"auto_truncate": False}),
        "truncate": TooLong(fields={"auto_truncate": True}),
    },
    counts_characters=True,  # REPO: the reply to "Laura is a DJ." tells 11 tokens
    cuts_silently=True,  # LIVE, VERTEX: "auto_truncate" is true by default
    source="LIVE, VERTEX",
)
OPENAI = Family(
    name="openai",
    encoding_formats=("float", "base64"),  # LIVE: the only family that documents the field
    auto_encoding_format="base64",  # a quarter of the bytes, and half the work to decode
    too_long=_SERVER_REFUSES,  # OPENAI: no truncation
    source="LIVE, OPENAI",
)
VOYAGE = Family(
    name="voyage",
    role_field="input_type",
    # LIVE, and every schema before it: "document" is the only value, there is no "query".
    tasks={None: {"document": "document"}},
    cuts_silently=True,  # VOYAGE: "truncation" is true by default; the gateway has no such field
    max_chars_alone=8000,  # LIVE
    max_chars_in_array=800,  # LIVE
    source="LIVE",
)
BGE = Family(
    name="bge",
    # BGE: for short queries that search long passages, never on passages.
    prefixes={"query": "Represent this sentence for searching relevant passages: "},
    too_long=_SERVER_REFUSES,  # as vLLM answers, which its replies look like
    source="REPO, BGE",
)
M2_BERT = Family(name="m2-bert", source="REPO, M2")
QWEN = Family(name="qwen", too_long=_SERVER_REFUSES, source="LIVE, QWEN")
NUGEN = Family(name="nugen", provider="nugen", source="NUGEN")
GENERIC = Family(
    name="generic",
    encoding_formats=("float", "base64"),
    source="the OpenAI shape, which an unknown model of the gateway most likely speaks",
)

FAMILIES: Mapping[str, Family] = MappingProxyType(
    {f.name: f for f in (GOOGLE, OPENAI, VOYAGE, BGE, M2_BERT, QWEN, NUGEN, GENERIC)}
)


def _openai(id: str, native: int, dimensions: Sequence[int], usd: float) -> Model:
    return Model(
        id=id,
        family=OPENAI,
        aliases=(f"openai/{id}",),  # LIVE
        native_dimensions=native,
        dimensions=dimensions,
        max_texts_per_request=2048,  # OPENAI
        max_tokens_per_request=300_000,  # OPENAI
        max_tokens_per_text=8192,  # OPENAI
        usd_per_million_tokens=usd,  # PLUGIN
    )


def _voyage(
    id: str, native: int, max_tokens_per_text: int, max_tokens: int, usd: float = 0.156
) -> Model:
    return Model(
        id=id,
        family=VOYAGE,
        aliases=(f"anthropic/{id}",),  # LIVE
        native_dimensions=native,
        max_texts_per_request=1000,  # VOYAGE
        max_tokens_per_request=max_tokens,  # VOYAGE; 120,000 also in its wording of 2024
        max_tokens_per_text=max_tokens_per_text,  # VOYAGE
        usd_per_million_tokens=usd,  # PLUGIN
    )


def _gecko(id: str, max_tokens_per_text: int, max_tokens: int | None, retired: str) -> Model:
    return Model(
        id=id,
        family=GOOGLE,
        native_dimensions=768,  # VERTEX
        dimensions=range(1, 769),  # REPO: number or null, no bounds; VERTEX: up to 768
        # github langchain-ai/langchain issue 5316 (2023): 5, the figure that holds in all regions
        max_texts_per_request=5,
        max_tokens_per_request=max_tokens,
        max_tokens_per_text=max_tokens_per_text,  # VERTEX
        retired=retired,
        successor="text-multilingual-embedding-002",
    )


def _bge(id: str, native: int, retired: str, successor: str) -> Model:
    return Model(
        id=id,
        family=BGE,
        native_dimensions=native,  # BGE
        max_tokens_per_text=512,  # BGE
        retired=retired,
        successor=successor,
    )


def _m2_bert(size: str, tokens: int, retired: str, *, takes_arrays: bool) -> Model:
    return Model(
        id=f"togethercomputer/m2-bert-80M-{size}-retrieval",
        family=M2_BERT,
        native_dimensions=768,  # M2
        takes_arrays=takes_arrays,  # REPO: arrays for 32k since 2025-08-15, never for the others
        max_texts_per_request=_MODEST if takes_arrays else 1,
        max_tokens_per_text=tokens,  # M2
        max_chars_alone=None if takes_arrays else 3000,  # REPO
        retired=retired,
        successor="text-embedding-3-small",
    )


def _qwen(version: str, dimensions: tuple[int, ...]) -> Model:
    return Model(
        id=f"alibaba/qwen-text-embedding-{version}",
        family=QWEN,
        aliases=(f"alibaba/text-embedding-{version}", f"text-embedding-{version}"),  # LIVE
        native_dimensions=1024,  # LIVE, QWEN: the default of both versions
        dimensions=dimensions,  # QWEN; LIVE takes any integer from 64 to 2048
        max_texts_per_request=10,  # QWEN, PLUGIN
        max_tokens_per_text=8192,  # QWEN, PLUGIN; LIVE's list says 32,000
        usd_per_million_tokens=0.091,  # PLUGIN
    )


# Retirement dates: the commit of github aimlapi/api-docs that took the model off its list. FEED:
# such a model keeps serving until its shutdown, for which we have no date.
MODELS: tuple[Model, ...] = (
    Model(
        id="text-multilingual-embedding-002",
        family=GOOGLE,
        aliases=("google/text-multilingual-embedding-002",),  # LIVE
        native_dimensions=768,  # VERTEX
        dimensions=range(1, 769),  # LIVE
        max_texts_per_request=250,  # VERTEX
        max_tokens_per_request=20_000,  # VERTEX
        max_tokens_per_text=2048,  # VERTEX; longer texts are cut silently
        usd_per_million_tokens=0.0325,  # PLUGIN
    ),
    _gecko("textembedding-gecko@001", 3072, None, "2025-04-29"),  # 3f064bf4
    _gecko("textembedding-gecko@003", 2048, 20_000, "2026-01-14"),  # e2b2d06d
    _gecko("textembedding-gecko-multilingual@001", 2048, 20_000, "2026-01-14"),  # e2b2d06d
    Model(
        id="text-embedding-004",
        family=GOOGLE,
        native_dimensions=768,  # VERTEX
        dimensions=range(1, 769),  # VERTEX
        max_texts_per_request=250,  # VERTEX
        max_tokens_per_request=20_000,  # VERTEX
        max_tokens_per_text=2048,  # VERTEX
        retired="2026-09-16",  # never on the list; in a schema of 2026-01-16, gone from LIVE
        successor="text-multilingual-embedding-002",
    ),
    _openai("text-embedding-3-small", 1536, range(1, 1537), 0.026),  # LIVE allows 3072
    _openai("text-embedding-3-large", 3072, range(1, 3073), 0.169),
    _openai("text-embedding-ada-002", 1536, (), 0.13),  # LIVE: no such field; OPENAI: 400
    _voyage("voyage-2", 1024, 4_000, 320_000, 0.13),
    _voyage("voyage-code-2", 1536, 16_000, 120_000),
    _voyage("voyage-large-2", 1536, 16_000, 120_000),
    _voyage("voyage-large-2-instruct", 1024, 16_000, 120_000),
    _voyage("voyage-law-2", 1024, 16_000, 120_000),
    _voyage("voyage-finance-2", 1024, 32_000, 120_000),
    _voyage("voyage-multilingual-2", 1024, 32_000, 120_000),
    _bge("BAAI/bge-base-en-v1.5", 768, "2026-03-30", "text-multilingual-embedding-002"),  # 5acb226f
    _bge(
        "BAAI/bge-large-en-v1.5", 1024, "2026-02-12", "alibaba/qwen-text-embedding-v3"
    ),  # ff8a4cc7
    _m2_bert("2k", 2048, "2025-06-23", takes_arrays=False),  # b4a8d3b3
    _m2_bert("8k", 8192, "2025-06-23", takes_arrays=False),  # b4a8d3b3
    _m2_bert("32k", 32_768, "2026-03-30", takes_arrays=True),  # 5acb226f
    _qwen("v3", (64, 128, 256, 512, 768, 1024)),
    _qwen("v4", (64, 128, 256, 512, 768, 1024, 1536, 2048)),
    Model(
        id="test/dummy-embeddings",  # LIVE, for contract tests; perhaps closed to ordinary keys
        family=GENERIC,
        dimensions=range(1, 3073),  # LIVE
    ),
    Model(
        id="nugen-flash-embed",  # NUGEN's example still; COOK moved to the next one on 2026-07-18
        family=NUGEN,
        native_dimensions=768,  # COOK
        dimensions=ANY_SIZE,  # NUGEN: integer or null
        max_texts_per_request=100,  # COOK: a guide of 2024 sends 100
    ),
    Model(
        id="qwen3-embedding-8b",
        family=NUGEN,
        dimensions=ANY_SIZE,  # NUGEN
        max_texts_per_request=100,  # COOK
    ),
)
