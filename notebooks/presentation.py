"""How the notebooks show tables and pictures; none of this is needed to use the package."""

from __future__ import annotations

import html
import io

import pandas as pd
from IPython.display import display
from matplotlib import pyplot
from matplotlib.figure import Figure


def show_table(frame: pd.DataFrame, **formats: str) -> None:
    """Show a table without its index: text to the left, numbers to the right, headers likewise.

    Args:
        frame: What to show. Missing values are left blank.
        formats: How to write the numbers of a column, such as `score="{:.2f}"`; else as integers.
    """
    numbers = frame.select_dtypes("number").columns
    formats = {**dict.fromkeys(numbers, "{:,.0f}"), **formats}
    header, *rows = [list(frame.columns)] + [
        ["" if pd.isna(value) else formats.get(name, "{}").format(value) for name, value in row]
        for row in (zip(frame.columns, values, strict=True) for values in frame.to_numpy(object))
    ]
    # The style stands in each cell, since many viewers of notebooks remove style sheets.
    styles = [f"text-align: {'right' if name in numbers else 'left'}" for name in frame.columns]
    lines = [
        "<tr>"
        + "".join(
            f'<{tag} style="{style}">{html.escape(cell)}</{tag}>'
            for cell, style in zip(row, styles, strict=True)
        )
        + "</tr>"
        for tag, row in [("th", header), *(("td", row) for row in rows)]
    ]
    table = "\n".join(
        ["<table>", "<thead>", lines[0], "</thead>", "<tbody>", *lines[1:], "</tbody>", "</table>"]
    )
    plain = "\n".join("  ".join(row) for row in [header, *rows])
    display({"text/html": table, "text/plain": plain}, raw=True)


def show_figure(figure: Figure, description: str, *, measured: bool = False) -> None:
    """Show a picture, and below it a description, for readers who cannot see it too.

    The description is also the picture's alternative text in the metadata of the output. JupyterLab
    and nbconvert do not show that one yet.

    Args:
        figure: What to show. It is closed.
        description: At least a sentence; without figures that differ between runs.
        measured: Whether the picture shows measured times, and so differs between runs.
    """
    png = io.BytesIO()
    # Without the version of Matplotlib, so that equal pictures are equal bytes.
    figure.savefig(png, format="png", dpi=80, metadata={"Software": None})
    pyplot.close(figure)
    alternative = {"image/png": {"alt": description, **({"measured": True} if measured else {})}}
    display(
        {"image/png": png.getvalue(), "text/plain": description}, metadata=alternative, raw=True
    )
    display({"text/markdown": f"*{description}*", "text/plain": description}, raw=True)
