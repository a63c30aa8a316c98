"""The step finds a server as the workers of an engine find it."""

from tests.support.server_of_workers import server

__all__ = ["server"]
