"""The comparison as the report's table."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from evaluation.results import REAL

Tree = dict[str, Any]


def significant(value: float) -> str:
    """Three significant digits, and all digits before the point."""
    if abs(value) >= 1000:
        return f"{value:,.0f}"
    return f"{value:#.3g}".rstrip(".")


@dataclass(frozen=True, slots=True)
class Column:
    """A column of the comparison.

    Attributes:
        label: its head.
        title: what it is, in words.
        read: the value in a row; None where the row has none.
        form: how a value is written.
        better: which end is good; "" where neither is.
    """

    label: str
    title: str
    read: Callable[[Tree], float | None]
    form: Callable[[float], str]
    better: Literal["lower", "higher", ""] = ""


def _score(name: str, scale: float = 1) -> Callable[[Tree], float | None]:
    return lambda row: row["scores"][name] * scale


def _cost(name: str) -> Callable[[Tree], float | None]:
    return lambda row: None if row["cost"] is None else row["cost"][name]


COLUMNS = (
    Column(
        "Fréchet", "Fréchet distance to the real images", _score("frechet"), significant, "lower"
    ),
    Column("KID × 1000", "Kernel distance, unbiased", _score("kid", 1000), significant, "lower"),
    Column(
        "precision",
        "Images that look like real ones",
        _score("precision"),
        "{:.3f}".format,
        "higher",
    ),
    Column(
        "recall", "Real images that could be painted", _score("recall"), "{:.3f}".format, "higher"
    ),
    Column(
        "density",
        "Precision that outliers do not sway",
        _score("density"),
        "{:.3f}".format,
        "higher",
    ),
    Column(
        "coverage",
        "Recall that outliers do not sway",
        _score("coverage"),
        "{:.3f}".format,
        "higher",
    ),
    Column(
        "GFLOPs an image",
        "All steps, with the router's share",
        _cost("gflops_per_image"),
        significant,
        "lower",
    ),
    Column(
        "experts a step",
        "Experts asked each time a velocity is needed",
        _cost("experts_per_step"),
        "{:.2f}".format,
    ),
    Column("seconds", "Time to paint all images of the row", _cost("seconds"), "{:.1f}".format),
)


def table(rows: Sequence[Tree], chosen: str) -> list[Tree]:
    """The comparison, ready to be written.

    Args:
        rows: see :class:`evaluation.results.Row`, as JSON.
        chosen: the strategy the run samples with.

    Returns:
        For each row its label, its kind and its cells, the best painted one of a column marked.
    """
    best = {column.label: _best(column, rows) for column in COLUMNS}
    return [
        {
            "label": "real images, half and half" if row["name"] == REAL else row["name"],
            "kind": {REAL: "reference", chosen: "chosen"}.get(row["name"], ""),
            "cells": [
                {
                    "text": "–" if (value := column.read(row)) is None else column.form(value),
                    "best": row["cost"] is not None
                    and value is not None
                    # Equal as written is equally good.
                    and column.form(value) == best[column.label],
                }
                for column in COLUMNS
            ],
        }
        for row in rows
    ]


def _best(column: Column, rows: Sequence[Tree]) -> str:
    values = [
        value for row in rows if row["cost"] is not None and (value := column.read(row)) is not None
    ]
    if not column.better or not values:
        return ""
    return column.form((min if column.better == "lower" else max)(values))
