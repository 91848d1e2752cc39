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
        spread: how far chance moves the value in a row, where that is known.
    """

    label: str
    title: str
    read: Callable[[Tree], float | None]
    form: Callable[[float], str]
    better: Literal["lower", "higher", ""] = ""
    spread: Callable[[Tree], float] | None = None

    def cell(self, row: Tree) -> str:
        """What stands in a row."""
        value = self.read(row)
        if value is None:
            return "–"
        text = self.form(value)
        return f"{text} ± {self.form(self.spread(row))}" if self.spread else text


def _score(name: str, scale: float = 1) -> Callable[[Tree], float]:
    return lambda row: float(row["scores"][name] * scale)


def _cost(name: str) -> Callable[[Tree], float | None]:
    return lambda row: None if row["cost"] is None else row["cost"][name]


COLUMNS = (
    Column(
        "Fréchet", "Fréchet distance to the real images", _score("frechet"), significant, "lower"
    ),
    Column(
        "KID × 1000",
        "Kernel distance, unbiased, so that chance may take it below zero; ± among subsets",
        _score("kid", 1000),
        "{:.2f}".format,
        "lower",
        _score("kid_std", 1000),
    ),
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
        For each row its label, its kind and its cells, the best painted ones of a column marked.
    """
    best = {column.label: _best(column, rows) for column in COLUMNS if column.better}
    return [
        {
            "label": "real images, half and half" if row["name"] == REAL else row["name"],
            "kind": {REAL: "reference", chosen: "chosen"}.get(row["name"], ""),
            "cells": [
                {"text": column.cell(row), "best": row["name"] in best.get(column.label, ())}
                for column in COLUMNS
            ],
        }
        for row in rows
    ]


def _best(column: Column, rows: Sequence[Tree]) -> set[str]:
    """Names of the best rows: equal as written, or within the best one's spread, is as good."""
    painted = [row for row in rows if row["cost"] is not None]
    values = {row["name"]: value for row in painted if (value := column.read(row)) is not None}
    if not values:
        return set()
    first = (min if column.better == "lower" else max)(values, key=lambda name: values[name])
    spread = column.spread(next(r for r in painted if r["name"] == first)) if column.spread else 0
    return {
        name
        for name, value in values.items()
        if column.form(value) == column.form(values[first]) or abs(value - values[first]) <= spread
    }
