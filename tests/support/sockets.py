"""Which connections does this process hold? And waiting for what other threads do.

Spawned children import this module; it imports nothing that takes long.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path
from urllib.parse import urlsplit

SOON = 20.0  # seconds that nothing here takes, unless it hangs


def ports_to(base_url: str) -> set[int]:
    """List the local ports of this process's connections to a server."""
    server = urlsplit(base_url).port
    ours = set()
    for descriptor in os.listdir("/proc/self/fd"):
        try:
            ours.add(os.readlink(f"/proc/self/fd/{descriptor}"))
        except FileNotFoundError:  # it was the listing's own
            continue
    rows = (row.split() for row in Path("/proc/self/net/tcp").read_text().splitlines()[1:])
    return {
        int(row[1].partition(":")[2], 16)
        for row in rows
        if int(row[2].partition(":")[2], 16) == server and f"socket:[{row[9]}]" in ours
    }


def eventually(happened: Callable[[], object]) -> None:
    """Wait until something has happened."""
    deadline = time.monotonic() + SOON
    while not happened():
        assert time.monotonic() < deadline, "it never happened"
        time.sleep(0.005)
