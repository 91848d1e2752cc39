"""What the report says in words, from what the evaluation found."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from atoll import layout
from atoll.config import Config
from evaluation.results import MONOLITH, ORACLE, REAL
from evaluation.table import significant
from partition.manifest import Partition

Tree = dict[str, Any]


OTHERS = (
    (MONOLITH, "The monolith, one network trained on everything, from the same noises."),
    (
        ORACLE,
        "The oracle: each image follows the expert of the cluster its condition was drawn from.",
    ),
)


def headline(rows: Sequence[Tree], chosen: Tree, num_experts: int) -> str:
    """The finding in one sentence, whichever way it went.

    Args:
        rows: of the comparison.
        chosen: the one whose images are shown, so that words and pictures are of the same.
        num_experts: K.
    """
    found = significant(chosen["scores"]["frechet"])
    monolith = next((row for row in rows if row["name"] == MONOLITH), None)
    if monolith is None:
        return f"{num_experts} experts, one ensemble: Fréchet distance {found}"
    baseline = significant(monolith["scores"]["frechet"])
    if found == baseline:
        return f"The ensemble and its monolith are level: Fréchet distance {found}"
    if chosen["scores"]["frechet"] < monolith["scores"]["frechet"]:
        return f"The ensemble leads its monolith: Fréchet distance {found} against {baseline}"
    return f"The monolith leads its ensemble: Fréchet distance {baseline} against {found}"


def best_strategy(rows: Sequence[Tree]) -> Tree:
    """The row of the selection strategy with the smallest Fréchet distance."""
    strategies = [row for row in rows if row["name"] not in {REAL, MONOLITH, ORACLE}]
    return min(strategies, key=lambda row: float(row["scores"]["frechet"]))


def data_name(config: Config) -> str:
    """What the data are called: their file or folder, or the source that needs none."""
    path = config.data.path
    return Path(path).stem if path else config.data.source


def lead(name: str, partition: Partition, rows: Sequence[Tree], training: Sequence[Tree]) -> str:
    """What was done, in a few sentences below the headline."""
    best = best_strategy(rows)
    parts = {line["part"]: line for line in training}
    words = (
        f"{partition.num_experts} experts, each trained alone on its own part of the "
        f"{partition.num_samples:,} images of “{name}”, paint together through a router. Of the "
        f"ways to select among them, {best['name']} comes closest to the real images in this one "
        f"run: Fréchet distance {significant(best['scores']['frechet'])}."
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


def facts(partition: Partition, chosen: Tree) -> list[tuple[str, str]]:
    """The few figures below the headline."""
    steps = chosen["recipe"]["checkpoints"][layout.expert_job(0)]["step"]
    return [
        ("experts", str(partition.num_experts)),
        ("real images", f"{partition.num_samples:,}"),
        ("training steps", f"{steps:,}"),
        ("selection", chosen["name"]),
        ("experts a step", f"{chosen['cost']['experts_per_step']:.2f}"),
        ("GFLOPs an image", significant(chosen["cost"]["gflops_per_image"])),
    ]


def recipe(made: Tree, partition: Partition) -> list[tuple[str, str]]:
    """What the figures of a row follow from, as far as all rows have it in common.

    Args:
        made: the row's own recipe, see :class:`evaluation.results.Row`.
        partition: whose clusters the experts learned.
    """
    extractor, reference = made["extractor"], made["reference"]
    return [
        ("seed", str(made["seed"])),
        ("solver", f"{made['solver']}, {made['steps']} steps"),
        ("guidance", "none" if made["guidance"] == 1 else f"{made['guidance']:g}"),
        ("gate", made["gate"]),
        ("painted images a row", f"{made['num_samples']:,}"),
        ("real images", f"{reference['num_samples']:,}"),
        ("weights", _averages(made["checkpoints"])),
        ("extractor", f"{extractor['name']} {extractor['digest'][:16]}"),
        ("reference", reference["digest"][:16]),
        ("partition", partition.digest[:16]),
    ]


def _averages(checkpoints: Tree) -> str:
    """How the weights of experts and router were averaged."""
    expert = checkpoints[layout.expert_job(0)]
    lengths = expert.get("ema_lengths")
    how = f"length {lengths[0]:g}" if lengths else f"decay {expert['ema_decay']:g}"
    words, router = f"averaged, {how}", checkpoints.get(layout.ROUTER_JOB)
    return words if router is None else f"{words}; the router’s {router['ema_decay']:g}"


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
        "higher, so a row of more images may lie below it and still not be better than real."
    )


def clusters(scores: Sequence[Tree], chosen: Tree, partition: Partition) -> list[Tree]:
    """Each expert's scores, its share of the data, and its share of the work of a row."""
    shares = [part.num_samples / partition.num_samples for part in partition.shard_sets]
    return [
        {**score, "share": share, "usage": usage}
        for score, share, usage in zip(scores, shares, chosen["cost"]["usage"], strict=True)
    ]


def router_words(router: Tree, guessing: float) -> str:
    """How good the gate is, in a sentence or two."""
    gate = router["recipe"]["gate"]
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
