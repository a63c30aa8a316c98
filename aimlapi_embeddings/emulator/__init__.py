"""An offline emulator of the AI/ML API and of Nugen. It needs the standard library only.

    from aimlapi_embeddings import emulator

    with emulator.running() as base_url:
        ...  # POST f"{base_url}/v1/embeddings"

Requests are validated, and replies are shaped, as the providers' published schemas and samples
say. The vectors are lexical: texts that share words get similar vectors, and meaning plays no part.
Ready-made faulty replies for tests are in `aimlapi_embeddings.emulator.faults`.
"""

from aimlapi_embeddings.emulator import faults as faults
from aimlapi_embeddings.emulator._answer import answer
from aimlapi_embeddings.emulator._emulator import Emulator, Fault
from aimlapi_embeddings.emulator._server import running
from aimlapi_embeddings.emulator._types import Reply, Request

__all__ = ["Emulator", "Fault", "Reply", "Request", "answer", "running"]
