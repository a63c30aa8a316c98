"""What the kernel counts as this process's memory (Linux)."""

from __future__ import annotations

from pathlib import Path


def resident(field: str) -> float:
    """Read a figure of /proc/self/status in MB."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(field):
            return int(line.split()[1]) / 1024
    raise LookupError(field)


class Peak:
    """The kernel's high-water mark above what was in use at the start."""

    def __init__(self) -> None:
        Path("/proc/self/clear_refs").write_text("5")  # sets the mark back to what is in use
        self.before = resident("VmRSS")

    def megabytes(self) -> float:
        return resident("VmHWM") - self.before
