"""What the report says, in words and table cells, from what the evaluation found."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from atoll.config import Config
from evaluation.results import MONOLITH, ORACLE, REAL
from partition.manifest import Partition

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

OTHERS = (
    (MONOLITH, "The monolith, one network trained on everything, from the same noises."),
    (
        ORACLE,
        "The oracle: each image follows the expert of the cluster its condition was drawn from.",
    ),
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


def headline(rows: Sequence[Tree], num_experts: int) -> str:
    """The finding in one sentence, whichever way it went."""
    best = best_strategy(rows)
    found = significant(best["scores"]["frechet"])
    monolith = next((row for row in rows if row["name"] == MONOLITH), None)
    if monolith is None:
        return f"{num_experts} experts, one ensemble: Fréchet distance {found}"
    baseline = significant(monolith["scores"]["frechet"])
    if best["scores"]["frechet"] < monolith["scores"]["frechet"]:
        return f"The ensemble leads its monolith: Fréchet distance {found} against {baseline}"
    return f"The monolith leads its ensemble: Fréchet distance {baseline} against {found}"


def best_strategy(rows: Sequence[Tree]) -> Tree:
    """The row of the selection strategy with the smallest Fréchet distance."""
    strategies = [row for row in rows if row["name"] not in {REAL, MONOLITH, ORACLE}]
    return min(strategies, key=lambda row: float(row["scores"]["frechet"]))


def lead(name: str, partition: Partition, best: Tree, training: Sequence[Tree]) -> str:
    """What was done, in a few sentences below the headline."""
    parts = {line["part"]: line for line in training}
    words = (
        f"{partition.num_experts} experts, each trained alone on its own part of the "
        f"{partition.num_samples:,} images of “{name}”, paint together through a router. They are "
        f"served best by {best['name']} selection, at "
        f"{significant(best['cost']['gflops_per_image'])} GFLOPs an image."
    )
    if MONOLITH in parts:
        words += (
            f" Training them took {1 / parts[MONOLITH]['relative']:.0%} of the monolith’s FLOPs"
        )
        words += (
            f", and the router {parts['router']['relative']:.0%} more."
            if "router" in parts
            else "."
        )
    return words


def facts(config: Config, partition: Partition, best: Tree) -> list[tuple[str, str]]:
    """The few figures below the headline."""
    return [
        ("experts", str(partition.num_experts)),
        ("real images", f"{partition.num_samples:,}"),
        ("training steps", f"{config.training.steps:,}"),
        ("best strategy", best["name"]),
        ("experts a step", f"{best['cost']['experts_per_step']:.2f}"),
        ("GFLOPs an image", significant(best["cost"]["gflops_per_image"])),
    ]


def recipe(config: Config, results: Tree) -> list[tuple[str, str]]:
    """What all figures of the report have in common."""
    sampling, extractor = config.sampling, results["extractor"]
    return [
        ("seed", str(config.run.seed)),
        ("solver", f"{sampling.solver}, {sampling.steps} steps"),
        ("guidance", "none" if sampling.guidance == 1 else f"{sampling.guidance:g}"),
        ("painted images a row", f"{config.evaluation.num_samples:,}"),
        ("real images", f"{results['reference']['num_samples']:,}"),
        ("weights", f"averaged, decay {config.training.ema_decay:g}"),
        ("extractor", f"{extractor['name']} {extractor['digest'][:16]}"),
        ("reference", results["reference"]["digest"][:16]),
        ("partition", results["reference"]["partition"][:16]),
    ]


def extractor_words(extractor: Tree) -> str:
    """What the features come from."""
    if extractor["accuracy"] is None:
        return str(extractor["name"])
    return (
        f"a small classifier of the real images, right on {extractor['accuracy']:.1%} of those it "
        "did not learn from"
    )


def floor_note(real: Tree) -> str:
    """What the row of real images is good for."""
    return (
        "The first row compares one half of the real images with the other: perfect images, "
        f"{real['scores']['num_samples']:,} a side, would score about as much. Fewer images score "
        "a little higher, so no row can be expected to lie much below it."
    )


def clusters(scores: Sequence[Tree], chosen: Tree, partition: Partition) -> list[Tree]:
    """Each expert's scores, its share of the data, and its share of the work of a row."""
    shares = [part.num_samples / partition.num_samples for part in partition.shard_sets]
    return [
        {**score, "share": share, "usage": usage}
        for score, share, usage in zip(scores, shares, chosen["cost"]["usage"], strict=True)
    ]


def router_words(gate: str, router: Tree, guessing: float) -> str:
    """How good the gate is, in a sentence or two."""
    name = "router" if gate == "learned" else f"{gate} gate"
    accuracy = router["accuracy"]
    mean = sum(accuracy) / len(accuracy)
    error = sum(router["calibration_error"]) / len(accuracy)
    return (
        f"Over all times the {name} names the right cluster for {mean:.0%} of the real images: "
        f"{accuracy[0]:.0%} when they are nearly clean and {accuracy[-1]:.0%} when they are "
        f"nearly noise, where always naming the largest cluster achieves {guessing:.0%}. Its "
        f"probabilities are {error:.1%} off on average."
    )


def loss_words(restarts: int) -> str:
    """The caption of the loss curves."""
    words = (
        "Training loss of every expert and of the monolith, averaged since the last point. Experts "
        "see only their own cluster, so their levels differ."
    )
    if restarts == 0:
        return words + " No job was interrupted."
    times = "once" if restarts == 1 else f"{restarts} times"
    return words + f" Jobs were taken over by another island {times}, where the rings are."


def mean_confidence(counts: Sequence[Sequence[int]]) -> list[float]:
    """Mean probability of the likeliest cluster for each range of t, from its histogram (T, C)."""
    return [
        sum(n * (level + 0.5) / len(row) for level, n in enumerate(row)) / max(1, sum(row))
        for row in counts
    ]


def _best(column: Column, rows: Sequence[Tree]) -> str:
    values = [
        value for row in rows if row["cost"] is not None and (value := column.read(row)) is not None
    ]
    if not column.better or not values:
        return ""
    return column.form((min if column.better == "lower" else max)(values))
