"""The report of a run: one HTML page that holds everything it shows."""

from __future__ import annotations

import itertools
import json
import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined

from atoll import __version__, layout
from atoll.blobs import BlobStore, open_store
from atoll.checkpoints import MANIFEST
from atoll.command import say
from atoll.config import Config
from atoll.types import CheckpointRef
from evaluation import page, plots, table
from evaluation.grids import data_uri
from evaluation.results import ORACLE, REAL
from evaluation.stage import pictures_of, require_evaluation
from evaluation.trained import trained
from experts.files import HISTORY
from partition.manifest import Partition
from partition.stage import load_partition

Tree = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Material:
    """What a report is made of.

    Attributes:
        config: of the run, and what its results were found with.
        partition: of its data.
        results: see :class:`evaluation.results.Results`, as JSON.
        checkpoints: of the networks that were judged, by job.
        histories: points of each job's loss curve.
        pictures: PNGs by key: the rows' grids, the experts' grids and the montage.
    """

    config: Config
    partition: Partition
    results: Tree
    checkpoints: dict[str, CheckpointRef]
    histories: dict[str, list[Tree]]
    pictures: dict[str, bytes]


def write_report(config: Config) -> str:
    """Write the report into the run.

    Returns:
        Its key, :data:`atoll.layout.REPORT`.

    Raises:
        StageMissing: there is nothing to report yet, or it was found with other settings; says
            which command comes first.
        BadInput: the run was made with other settings; names the key.
    """
    store = open_store(config.run.uri)
    text = render(_gathered(config, store))
    if store.exists(layout.REPORT) and store.get_bytes(layout.REPORT) == text.encode():
        say("already written: nothing has changed since")
        return layout.REPORT
    return store.publish(layout.REPORT, text.encode()).key


def render(material: Material) -> str:
    """The whole page."""
    environment = Environment(
        loader=PackageLoader("evaluation"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    style, _, _ = environment.loader.get_source(environment, "report.css")  # type: ignore[union-attr]
    template = environment.get_template("report.html.j2")
    return template.render(style=style, charts=_charts(material), **_words(material))


def _gathered(config: Config, store: BlobStore) -> Material:
    results = require_evaluation(config, "report")
    checkpoints = trained(config, "report")
    return Material(
        config,
        load_partition(store, "report"),
        results,
        checkpoints,
        {job: _history(store, ref) for job, ref in checkpoints.items()},
        {key: store.get_bytes(key) for key in [*pictures_of(results), layout.MONTAGE]},
    )


def _history(store: BlobStore, ref: CheckpointRef) -> list[Tree]:
    """The loss curve in a checkpoint, without fetching its weights."""
    manifest = json.loads(store.get_bytes(f"{ref.key}/{MANIFEST}", ref.digest))
    digest = manifest["files"][HISTORY]["sha256"]
    history: list[Tree] = json.loads(store.get_bytes(f"{ref.key}/{HISTORY}", digest))
    return history


def _charts(material: Material) -> Tree:
    router = material.results["router"]
    painted = [row for row in material.results["rows"] if row["cost"] is not None]
    flows = {job: h for job, h in material.histories.items() if job != layout.ROUTER_JOB}
    routers = {job: h for job, h in material.histories.items() if job == layout.ROUTER_JOB}
    return {
        "cost": plots.quality_against_cost(
            "cost", "Fréchet distance against GFLOPs an image, a point for each row", painted
        ),
        "confidence": plots.heat_map(
            "confidence",
            "Heat map of the router's confidence against time",
            router["confidence"],
            router["accuracy"],
            router["mean_confidence"],
        ),
        "accuracy": plots.against_time(
            "accuracy",
            "Accuracy and calibration error of the router against time",
            {"accuracy": router["accuracy"], "calibration error": router["calibration_error"]},
            plots.Level("largest cluster, always", _largest_share(material.partition)),
            "share of images",
        ),
        "surprise": plots.against_time(
            "surprise",
            "Cross-entropy of the router's answer against time",
            {"router": router["cross_entropy"]},
            plots.Level("cluster sizes alone", _entropy(material.partition)),
            "cross-entropy, nats",
        ),
        "reliability": plots.reliability(
            "reliability",
            "How often the router is right against how sure it is",
            router["sure"],
            router["right"],
            [sum(column) for column in zip(*router["confidence"], strict=True)],
        ),
        "confusion": plots.confusion_matrix(
            "confusion", "Confusion matrix of true clusters and chosen experts", router["confusion"]
        ),
        "losses": plots.loss_curves(
            "losses", "Loss against step, a line for each job", flows, "squared velocity error"
        ),
        "router_loss": routers
        and plots.loss_curves(
            "router-loss", "The router's loss against step", routers, "cross-entropy, nats"
        ),
    }


def _words(material: Material) -> Tree:
    config, partition, results = material.config, material.partition, material.results
    rows, strategy = results["rows"], _shown(config, results["rows"])
    named = {row["name"]: row for row in rows}
    recipe = named[strategy]["recipe"]
    restarts = sum(
        a["epoch"] != b["epoch"]
        for history in material.histories.values()
        for a, b in itertools.pairwise(history)
    )
    name = config.run.uri.rstrip("/").rsplit("/", 1)[-1]
    return {
        "title": name,
        "headline": page.headline(rows, named[strategy], partition.num_experts),
        "lead": page.lead(page.data_name(config), partition, rows, results["training"]),
        "facts": page.facts(partition, named[strategy]),
        "strategy": strategy,
        "grids": {row["name"]: data_uri(material.pictures[row["grid"]]) for row in rows},
        "expert_grids": [data_uri(material.pictures[key]) for key in results["expert_grids"]],
        "montage": data_uri(material.pictures[layout.MONTAGE]),
        "num_samples": f"{recipe['num_samples']:,}",
        "num_real": f"{recipe['reference']['num_samples']:,}",
        "extractor_words": page.extractor_words(results["extractor"]),
        "others": page.OTHERS,
        "columns": table.COLUMNS,
        "significant": table.significant,
        "table": table.table(rows, strategy),
        "floor_note": page.floor_note(named[REAL]),
        "clusters": page.clusters(named[ORACLE]["clusters"], named[strategy], partition),
        "router_words": page.router_words(results["router"], _largest_share(partition)),
        "loss_words": page.loss_words(restarts),
        "training": results["training"],
        "recipe": page.recipe(recipe, partition),
        "results_key": layout.EVALUATION,
        "checkpoints": [{"job": job, **asdict(ref)} for job, ref in material.checkpoints.items()],
        "config": config.model_dump_json(indent=2),
        "version": __version__,
    }


def _shown(config: Config, rows: Sequence[Tree]) -> str:
    """The strategy whose images stand first: the run's own, or the best where it was not judged."""
    names = {row["name"] for row in rows}
    own = config.sampling.strategy
    return own if own in names else str(page.best_strategy(rows)["name"])


def _largest_share(partition: Partition) -> float:
    return max(_shares(partition))


def _entropy(partition: Partition) -> float:
    """Of the cluster sizes, nats."""
    return -sum(share * math.log(share) for share in _shares(partition) if share)


def _shares(partition: Partition) -> list[float]:
    return [part.num_samples / partition.num_samples for part in partition.shard_sets]
