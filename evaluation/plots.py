"""The report's figures."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.patches import Rectangle
from numpy.typing import ArrayLike, NDArray

from atoll import layout
from evaluation.results import MONOLITH, ORACLE
from evaluation.themed import ACCENT, INK, MUTED, PAPER, RULE, SIGNAL, drawing, series, svg

_TIME = "t: 0 is an image, 1 is noise"

Place = tuple[float, float]
History = Sequence[Mapping[str, Any]]


def loss_curves(name: str, says: str, histories: Mapping[str, History], unit: str) -> str:
    """Loss against step, one line a job; a ring where a new lease took the job over.

    Args:
        name: of the figure, unique on the page.
        says: description for those who cannot see it.
        histories: by job; points with ``step``, ``loss`` and ``epoch``.
        unit: what the loss is.
    """
    with drawing() as figure:
        axes = figure.subplots()
        highest = 0.0
        for index, (job, points) in enumerate(histories.items()):
            alone = job in {layout.MONOLITH_JOB, layout.ROUTER_JOB}
            colour = INK if alone else series(index)
            steps, losses = [p["step"] for p in points], [p["loss"] for p in points]
            axes.plot(steps, losses, color=colour, label=job, linewidth=1.8 if alone else 1.3)
            taken = [b for a, b in itertools.pairwise(points) if a["epoch"] != b["epoch"]]
            axes.plot(
                [p["step"] for p in taken],
                [p["loss"] for p in taken],
                "o",
                color=SIGNAL,
                markerfacecolor=PAPER,
                markersize=6,
                markeredgewidth=1.5,
            )
            # The first few steps fall from far above and would flatten all that follows.
            highest = max(highest, *losses[len(losses) // 20 :][:1])
        axes.set_ylim(top=highest * 1.05)
        axes.grid(axis="y")
        axes.set_xlabel("step")
        _title(axes, unit)
        axes.legend(ncols=3, loc="upper right", fontsize=8)
        return svg(figure, name, says)


def heat_map(
    name: str, says: str, counts: ArrayLike, accuracy: ArrayLike, confidence: ArrayLike
) -> str:
    """How sure the gate is, against time, and how often it is right.

    Args:
        name: of the figure, unique on the page.
        says: description for those who cannot see it.
        counts: (T, C), images by range of time and of the likeliest cluster's probability.
        accuracy: (T,), share of images whose likeliest cluster is their own.
        confidence: (T,), mean probability of the likeliest cluster.
    """
    table = np.asarray(counts, dtype=float)
    num_times, num_levels = table.shape
    with drawing() as figure:
        axes = figure.subplots()
        _cells(
            axes, (table / table.sum(1, keepdims=True).clip(min=1)).T, 1 / num_times, 1 / num_levels
        )
        axes.plot(
            _middles(num_times), accuracy, "o-", color=SIGNAL, markersize=3.5, label="accuracy"
        )
        axes.plot(_middles(num_times), confidence, "--", color=INK, label="mean probability")
        axes.set(xlim=(0, 1), ylim=(0, 1.02))
        axes.set_xlabel(_TIME)
        _title(axes, "probability of the likeliest cluster")
        _legend(axes)
        return svg(figure, name, says)


@dataclass(frozen=True, slots=True)
class Level:
    """What a curve is to be held against."""

    label: str
    value: float


def against_time(
    name: str, says: str, curves: Mapping[str, ArrayLike], level: Level, unit: str
) -> str:
    """Curves over ranges of t between 0 and 1.

    Args:
        name: of the figure, unique on the page.
        says: description for those who cannot see it.
        curves: one or two, (T,) each, by label.
        level: what one reaches without looking at the image.
        unit: what the curves count.
    """
    with drawing() as figure:
        axes = figure.subplots()
        axes.axhline(level.value, color=MUTED, linewidth=1.2, linestyle=":", label=level.label)
        for (label, values), colour in zip(curves.items(), (ACCENT, SIGNAL), strict=False):
            points = np.asarray(values, dtype=float)
            axes.plot(
                _middles(len(points)), points, "o-", color=colour, markersize=3.5, label=label
            )
        axes.set(xlim=(0, 1))
        axes.set_ylim(bottom=0)
        axes.grid(axis="y")
        axes.set_xlabel(_TIME)
        _title(axes, unit)
        _legend(axes)
        return svg(figure, name, says)


def reliability(name: str, says: str, sure: ArrayLike, right: ArrayLike, counts: ArrayLike) -> str:
    """How often the gate is right, against how sure it is; on the diagonal it is calibrated.

    Args:
        name: of the figure, unique on the page.
        says: description for those who cannot see it.
        sure: (C,), mean probability of the likeliest cluster in each range of it.
        right: (C,), share of images whose likeliest cluster is their own.
        counts: (C,), images in the range.

    Source: Guo et al., On Calibration of Modern Neural Networks (arXiv 1706.04599), figure 1.
    """
    num = np.asarray(counts, dtype=float)
    seen = num > 0
    with drawing() as figure:
        axes = figure.subplots()
        axes.plot((0, 1), (0, 1), ":", color=MUTED, linewidth=1.2, label="as right as sure")
        x, y = np.asarray(sure, dtype=float)[seen], np.asarray(right, dtype=float)[seen]
        axes.plot(x, y, color=ACCENT, linewidth=1.2)
        areas = 12 + 220 * num[seen] / num.sum()
        axes.scatter(x, y, s=areas, color=ACCENT, label="images, larger for more", zorder=3)
        axes.set(xlim=(0, 1.02), ylim=(0, 1.02))
        axes.grid()
        axes.set_xlabel("probability of the likeliest cluster")
        _title(axes, "share that is right")
        axes.legend(loc="lower right", fontsize=8)  # a gate that knows anything leaves it free
        return svg(figure, name, says)


def confusion_matrix(name: str, says: str, counts: ArrayLike) -> str:
    """True cluster (rows) against the gate's choice (columns), counts (K, K)."""
    table = np.asarray(counts, dtype=float)
    shares = table / table.sum(1, keepdims=True).clip(min=1)
    num = len(shares)
    with drawing() as figure:
        axes = figure.subplots()
        _cells(axes, shares, 1, 1)
        if num <= 12:
            for row, column in np.ndindex(num, num):
                share = shares[row, column]
                axes.text(
                    column + 0.5,
                    row + 0.5,
                    f"{share:.0%}",
                    ha="center",
                    va="center",
                    color=PAPER if share > 0.55 else INK,
                    fontsize=8,
                )
        ticks = np.arange(num) + 0.5
        axes.set_xticks(ticks, [str(k) for k in range(num)])
        axes.set_yticks(ticks, [str(k) for k in range(num)])
        axes.set(xlim=(0, num), ylim=(num, 0), aspect="equal")
        axes.spines[:].set_visible(False)
        axes.set_xlabel("chosen expert")
        _title(axes, "true cluster")
        return svg(figure, name, says)


def quality_against_cost(name: str, says: str, rows: Sequence[Mapping[str, Any]]) -> str:
    """Fréchet distance against GFLOPs an image; lower left is better."""
    points = [(r["cost"]["gflops_per_image"], r["scores"]["frechet"]) for r in rows]
    widest, highest = (max(values) for values in zip(*points, strict=True))
    with drawing() as figure:
        axes = figure.subplots()
        places = [(x / widest, y / highest) for x, y in points]
        labels: list[Place] = []
        for row, (x, y) in sorted(zip(rows, places, strict=True), key=lambda pair: -pair[1][1]):
            colour = {MONOLITH: INK, ORACLE: MUTED}.get(row["name"], ACCENT)
            axes.plot(
                x * widest,
                y * highest,
                "s" if row["name"] == MONOLITH else "o",
                color=colour,
                markersize=7,
            )
            labels.append((x, _free_place(x, y, places, labels)))
            axes.annotate(
                row["name"],
                (x * widest, labels[-1][1] * highest),
                (8, 0),
                textcoords="offset points",
                va="center",
                color=colour,
                fontsize=8.5,
            )
        axes.set(xlim=(0, 1.25 * widest), ylim=(0, 1.1 * highest))
        axes.grid()
        axes.set_xlabel("GFLOPs an image, all steps and the router included")
        _title(axes, "Fréchet distance")
        return svg(figure, name, says)


def _free_place(x: float, y: float, points: Sequence[Place], labels: Sequence[Place]) -> float:
    """The height for a label beside a point that meets neither another label nor a point."""
    width, height = 0.22, 0.065  # of a label, in shares of the axes
    heights = [y + side * step * height for step in range(9) for side in (1, -1)]

    def free(level: float) -> bool:
        met = [a for a, b in points if 0 < a - x < width and abs(b - level) < 0.8 * height]
        met += [a for a, b in labels if abs(a - x) < width and abs(b - level) < 0.9 * height]
        return not met

    return next(filter(free, heights), y)


def _middles(num: int) -> NDArray[np.float64]:
    return (np.arange(num) + 0.5) / num


def _title(axes: Axes, text: str) -> None:
    """The vertical axis says what it is from above, where it can be read without turning."""
    axes.set_title(text, loc="left", fontsize=9, color=MUTED)


def _legend(axes: Axes) -> None:
    """Beside the title, where no curve can run through it."""
    axes.legend(
        loc="lower right",
        bbox_to_anchor=(1.02, 0.985),
        ncols=3,
        fontsize=8,
        columnspacing=1.2,
        handlelength=1.6,
    )


def _cells(axes: Axes, shares: NDArray[np.float64], width: float, height: float) -> None:
    """Squares of one colour, the stronger the larger their share; legible on any paper."""
    for row, column in np.ndindex(*shares.shape):
        share = float(shares[row, column])
        corner = (column * width, row * height)
        axes.add_patch(
            Rectangle(corner, width, height, facecolor=ACCENT, alpha=share**0.6, linewidth=0)
        )
    axes.add_patch(
        Rectangle(
            (0, 0),
            shares.shape[1] * width,
            shares.shape[0] * height,
            fill=False,
            edgecolor=RULE,
            linewidth=0.8,
        )
    )
