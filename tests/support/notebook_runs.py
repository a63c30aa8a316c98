"""Runs of the notebooks, and their outputs as they are committed.

    python -m tests.support.notebook_runs

runs all notebooks on the emulator and writes their outputs anew.
"""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any

from tests.support import optional_imports

nbformat = optional_imports.need("nbformat", "notebooks")
nbclient = optional_imports.need("nbclient", "notebooks")

Notebook = Any

FOLDER = Path(__file__).parents[2] / "notebooks"
PATHS = sorted(FOLDER.glob("*.ipynb"))
WIDGET = "application/vnd.jupyter.widget-view+json"
MASKS = [
    (re.compile(r"(?<=127\.0\.0\.1:)\d+"), "PORT"),
    (re.compile(r"(?<=user-agent: ).*"), "NAMES AND VERSIONS"),
    (re.compile(r"(?<=accept-encoding: ).*"), "ENCODINGS"),
    (re.compile(r"(?<=in your run: )[\d.,]+"), "VARIES"),
]
"""What differs between runs or machines, and what is committed in its place."""


def execute(notebook: Notebook, **options: Any) -> Notebook:
    """Run a notebook in its folder, and return it with its outputs."""
    here = {"metadata": {"path": str(FOLDER)}}
    client = nbclient.NotebookClient(
        notebook,
        timeout=100,
        resources=here,
        record_timing=False,
        coalesce_streams=True,  # else it depends on the speed of the run how a text is divided
        **options,
    )
    return client.execute()


def tidy(shown: Notebook) -> Notebook:
    """Reduce a notebook that was run to what is the same in all runs."""
    for cell in shown.cells:
        if cell.cell_type == "code":
            # A widget is drawn by a running kernel; a stored one would be an empty space.
            cell.outputs = [o for o in cell.outputs if WIDGET not in o.get("data", {})]
            for output in cell.outputs:
                _mask(output)
    shown.metadata = {
        "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
        "language_info": {"name": "python"},
    }
    return nbformat.from_dict(shown)


def _mask(output: Any) -> None:
    texts = output if output.output_type == "stream" else output.data
    for name, text in texts.items():
        if name == "text" or name.startswith("text/"):
            for pattern, mask in MASKS:
                text = pattern.sub(mask, text)
            texts[name] = text


def main() -> None:
    """Write the outputs of all notebooks anew."""
    for name in ("AIMLAPI_API_KEY", "AIMLAPI_API_BASE"):
        os.environ.pop(name, None)
    os.environ["PYTHONDONTWRITEBYTECODE"] = "1"
    for path in PATHS:
        shown = tidy(execute(nbformat.read(path, as_version=4)))
        path.write_text(nbformat.writes(shown, indent=1, ensure_ascii=False) + "\n", "utf-8")


if __name__ == "__main__":
    main()
