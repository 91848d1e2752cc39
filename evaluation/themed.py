"""Figures as inline SVG that take their colours and font from the page they stand in.

A figure is drawn in the palette's light colours; in the SVG each of them becomes a CSS variable
with that colour as its fallback, so that one figure serves light and dark pages, and prints.
"""

from __future__ import annotations

import io
import re
from collections.abc import Iterator
from contextlib import contextmanager
from html import escape
from typing import Any

import matplotlib as mpl
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure

INK, MUTED, RULE, PAPER = "#1c2a33", "#5b6b75", "#dcd9d1", "#fdfcfa"
ACCENT, SIGNAL = "#0b7a75", "#c8553d"
SERIES = (
    "#0b7a76",
    "#3d6fb0",
    "#b8871b",
    "#8a5aa8",
    "#5d8a3a",
    "#b0487a",
    "#3a93b5",
    "#946643",
)
_VARIABLES = {
    INK: "ink",
    MUTED: "muted",
    RULE: "rule",
    PAPER: "paper",
    ACCENT: "accent",
    SIGNAL: "signal",
    **{colour: f"series-{index}" for index, colour in enumerate(SERIES)},
}
_STYLE: dict[Any, Any] = {
    "axes.edgecolor": RULE,
    "axes.facecolor": "none",
    "axes.labelcolor": MUTED,
    "axes.linewidth": 0.8,
    "axes.spines.right": False,
    "axes.spines.top": False,
    "figure.facecolor": "none",
    "font.size": 9,
    "grid.color": RULE,
    "grid.linewidth": 0.6,
    "legend.frameon": False,
    "lines.linewidth": 1.5,
    "svg.fonttype": "none",
    "text.color": INK,
    "xtick.color": MUTED,
    "ytick.color": MUTED,
    "xtick.major.size": 0,
    "ytick.major.size": 0,
    "xtick.minor.size": 0,
    "ytick.minor.size": 0,
}


def series(index: int) -> str:
    """The colour of the index-th expert; eight, then from the start again."""
    return SERIES[index % len(SERIES)]


@contextmanager
def drawing(width: float = 5.4, height: float = 3.3) -> Iterator[Figure]:
    """A figure in the house's style; sizes in inches."""
    with mpl.rc_context(_STYLE):
        figure = Figure(figsize=(width, height), layout="constrained")
        FigureCanvasSVG(figure)
        yield figure


def svg(figure: Figure, name: str, says: str) -> str:
    """A figure as an ``<svg>`` element.

    Args:
        figure: what :func:`drawing` gave; to be called inside its ``with``.
        name: unique on the page; keeps the ids of several figures apart.
        says: what one sees, for those who cannot.
    """
    buffer = io.StringIO()
    with mpl.rc_context({"svg.hashsalt": name}):
        nothing = dict.fromkeys(("Creator", "Date", "Format", "Type"))
        figure.savefig(buffer, format="svg", metadata=nothing)
    text = buffer.getvalue()
    text = text[text.index("<svg") :]
    view_box = re.search(r'viewBox="[^"]*"', text)
    assert view_box is not None
    body = text[text.index(">") + 1 :]
    # Matplotlib calls its groups axes_1, text_3 and the like in every figure.
    body = re.sub(r'<g id="[^"]*"', "<g", body)
    for colour, variable in _VARIABLES.items():
        body = body.replace(colour, f"var(--{variable}, {colour})")
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink" '
        f'{view_box[0]} role="img" aria-label="{escape(says)}">{body}'
    )
