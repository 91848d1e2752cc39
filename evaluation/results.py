"""What an evaluation finds, as it is stored in the run and read by the report."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

VERSION = 2  # of all below: what an older one found is found anew
REAL, MONOLITH, ORACLE = "real", "monolith", "oracle"  # rows that are no selection strategy


@dataclass(frozen=True, slots=True)
class Scores:
    """How close images are to the real ones, in the features of an extractor.

    Attributes:
        num_samples: images that were compared.
        frechet: Fréchet distance; 0 is equal, lower is better.
        kid: kernel distance, mean over subsets; 0 is equal, lower is better.
        kid_std: its standard deviation over subsets.
        precision: see :class:`evaluation.neighbours.Neighbours`, as the three below.
        recall: higher is better.
        density: higher is better.
        coverage: higher is better.
    """

    num_samples: int
    frechet: float
    kid: float
    kid_std: float
    precision: float
    recall: float
    density: float
    coverage: float


@dataclass(frozen=True, slots=True)
class Cost:
    """What it took to paint the images of a row.

    Attributes:
        gflops_per_image: all steps, the router's included; 10^9 floating-point operations.
        experts_per_step: experts asked for an image each time its velocity is needed, on average.
        usage: share of the weight each expert had, (K,).
        seconds: for all images of the row, on the machine at hand.
    """

    gflops_per_image: float
    experts_per_step: float
    usage: tuple[float, ...]
    seconds: float


@dataclass(frozen=True, slots=True)
class ClusterScore:
    """How well one expert paints its own cluster.

    Attributes:
        cluster: which.
        num_real: real images in it.
        num_generated: images its expert painted, with conditions drawn from the cluster.
        frechet: distance to the cluster's real images; none where there are fewer images than
            features, because a distance between singular Gaussians says little.
        kid: kernel distance, which small clusters do not bias.
    """

    cluster: int
    num_real: int
    num_generated: int
    frechet: float | None
    kid: float | None


@dataclass(frozen=True, slots=True)
class Row:
    """One line of the comparison.

    Attributes:
        name: a selection strategy, :data:`MONOLITH`, :data:`ORACLE`, or :data:`REAL` for one half
            of the real images against the other.
        scores: see :class:`Scores`.
        cost: see :class:`Cost`; none for real images.
        grid: key of a PNG with the first of the images.
        recipe: all that the figures follow from.
        clusters: how each expert paints its own cluster; found with the oracle's row alone.
    """

    name: str
    scores: Scores
    cost: Cost | None
    grid: str
    recipe: dict[str, Any]
    clusters: tuple[ClusterScore, ...] = ()

    @classmethod
    def from_json(cls, tree: dict[str, Any]) -> Row:
        """Read what ``dataclasses.asdict`` gave."""
        cost = tree["cost"]
        return cls(
            name=tree["name"],
            scores=Scores(**tree["scores"]),
            cost=cost and Cost(**{**cost, "usage": tuple(cost["usage"])}),
            grid=tree["grid"],
            recipe=tree["recipe"],
            clusters=tuple(ClusterScore(**score) for score in tree["clusters"]),
        )


@dataclass(frozen=True, slots=True)
class TrainingCost:
    """What it took to train one part.

    Attributes:
        part: ``monolith``, ``experts`` or ``router``.
        networks: how many the part is made of.
        steps: optimizer steps of each network.
        batch_size: images in a step, over all networks of the part.
        tflops: forward and backward, 10^12 floating-point operations.
        relative: to all experts together.
        recipe: all that the figures follow from.
    """

    part: str
    networks: int
    steps: int
    batch_size: int
    tflops: float
    relative: float
    recipe: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Results:
    """A whole evaluation.

    Attributes:
        inputs: digest of all that it follows from.
        rows: the comparison, real images first.
        training: what the training took.
        router: how right and how sure the gate is, see :mod:`router.calibration`, and the recipe
            that follows from.
        extractor: its name, digest, and held-out accuracy or none.
        reference: number and digest of the real images, and digest of the partition.
        expert_grids: keys of PNGs, each expert painting the same noises.
    """

    inputs: str
    rows: tuple[Row, ...]
    training: tuple[TrainingCost, ...]
    router: dict[str, Any]
    extractor: dict[str, Any]
    reference: dict[str, Any]
    expert_grids: tuple[str, ...]
