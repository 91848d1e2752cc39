"""What the numbers of a plan rest on, in words."""

from __future__ import annotations

from collections.abc import Sequence

from atoll.config import Config
from orchestrator.planning.hardware import peak_flops
from orchestrator.planning.layout import USABLE
from orchestrator.planning.means import ASSUMED_MFU, Means
from orchestrator.planning.prices import Price
from orchestrator.planning.spot import Spot


def grounds(
    config: Config,
    means: Means,
    spot: Spot | None,
    prices: Sequence[Price],
) -> tuple[str, ...]:
    """Sentences that say what a plan assumes of hardware, memory, transfer, prices and nodes."""
    precision = config.training.precision
    peak = peak_flops(means.gpu, precision) / 1e12
    given = f"MFU {means.mfu:g}, as given" if means.mfu else f"MFU {ASSUMED_MFU:.2f}, assumed"
    copies = ", bf16 copies of the weights to compute on" if precision == "bf16" else ""
    num = config.training.num_averages
    averages = f"{num} averages" if num > 1 else "average"
    kept = "computed again in the backward pass" if means.recompute else "of all blocks kept"
    told = [
        f"{name}: {pace.step_s:.3g} s a step, measured over {pace.steps:,} steps of this run, "
        "whatever its islands' hardware; --gpu or --mfu reckons with that instead"
        for name, pace in means.paces.items()
    ]
    others = "; for jobs of the other kinds" if means.paces else ""
    told += [
        f"{given}, of {peak:g} TFLOP/s dense {precision} for a GPU{others}",
        f"fp32 weights, gradients, AdamW's moments and {averages}{copies}; activations {kept}; "
        f"{1 - USABLE:.0%} of a GPU's memory left free",
    ]
    if config.training.share == "proportional":
        told.append(_experts_of_unequal_clusters(config.partition.sizes))
    if means.recompute:
        told.append(
            "recomputing makes a step a third longer, which MFU does not count; set "
            "island.parallel.recompute"
        )
    if len(config.island.parallel) > 1:
        told.append("all islands laid out as the first of island.parallel")
    told.append("an island reads its shards once and keeps them on its disk")
    if means.nodes > 1:
        told.append(
            f"the GPUs of an island's {means.nodes} nodes train as fast as if they were in one; "
            "each node reads all shards of its island, and a reclaim of any interrupts it"
        )
    if not prices:
        told.append("no price: give --prices FILE, or set island.price_per_hour")
    if spot is None and any(price.spot is not None for price in prices):
        told.append("spot nodes are never taken back: give --lifetime-h to simulate it")
    if spot is not None:
        told.append(
            "each expert on an island of its own; reclaims alone, a new node after 300 s, its "
            f"first step 60 s later, checkpoints at {means.bytes_per_s / 1e6:g} MB/s"
        )
    return tuple(told)


def _experts_of_unequal_clusters(sizes: Sequence[float] | None) -> str:
    if sizes is None:
        return "clusters of equal size, so that every expert has the same batch"
    most = max(sizes) * len(sizes) / sum(sizes)
    return (
        "an expert with the mean batch; by partition.sizes that of the largest cluster is "
        f"{most:.3g} times as large, for a node that is as much faster"
    )
