"""The connections of this process, and waiting for other threads.

Spawned children import this module, so it imports nothing slow.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path
from urllib.parse import urlsplit

SOON = 20.0  # seconds after which a test counts as hanging
# Seconds that "at once" may take where the machine is busy; idle threads and sockets stay for 5.
AT_ONCE = 4.0


def ports_to(base_url: str) -> set[int]:
    """List the local ports of this process's connections to a server."""
    server = urlsplit(base_url).port
    ours = set()
    for descriptor in os.listdir("/proc/self/fd"):
        try:
            ours.add(os.readlink(f"/proc/self/fd/{descriptor}"))
        except FileNotFoundError:  # the descriptor of the listing itself
            continue
    rows = (row.split() for row in Path("/proc/self/net/tcp").read_text().splitlines()[1:])
    return {
        int(row[1].partition(":")[2], 16)
        for row in rows
        if int(row[2].partition(":")[2], 16) == server and f"socket:[{row[9]}]" in ours
    }


def eventually(happened: Callable[[], object]) -> None:
    """Wait until the condition holds."""
    deadline = time.monotonic() + SOON
    while not happened():
        assert time.monotonic() < deadline, "the condition never held"
        time.sleep(0.005)
