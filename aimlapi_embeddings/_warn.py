"""Warnings at the line of the user's code that is concerned."""

from __future__ import annotations

import re
import sys
import warnings

_INSIDE = re.compile(r"((langchain_|llama_index_)?aimlapi_embeddings|pydantic)\b")


def warn_user(message: str, category: type[Warning] = UserWarning) -> None:
    """Warn at the line outside of this project (and pydantic) that called it."""
    frame, level = sys._getframe(1), 2
    while frame.f_back and _INSIDE.match(frame.f_globals.get("__name__", "")):
        frame, level = frame.f_back, level + 1
    warnings.warn(message, category, stacklevel=level)
