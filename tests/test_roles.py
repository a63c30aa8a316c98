"""Law 3: the role reaches the wire."""

from __future__ import annotations

from surfaces import GOOGLE, Surface

BGE = "BAAI/bge-base-en-v1.5"
BGE_INSTRUCTION = "Represent this sentence for searching relevant passages: "


def test_google_documents_and_queries_carry_their_task_type(surface: Surface) -> None:
    surface.make(GOOGLE).documents(["a", "b"])
    surface.query("q")
    path = [request.path for request in surface.wire.requests]
    assert path == ["/v1/embeddings", "/v1/embeddings"]
    assert [request.body for request in surface.wire.requests] == [
        b'{"model":"%s","input":["a","b"],"task_type":"RETRIEVAL_DOCUMENT"}' % GOOGLE.encode(),
        b'{"model":"%s","input":["q"],"task_type":"RETRIEVAL_QUERY"}' % GOOGLE.encode(),
    ]
