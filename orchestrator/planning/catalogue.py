"""What nodes cost, from SkyPilot's catalogue."""

from __future__ import annotations

import math
from typing import Any

from atoll.errors import BadInput, IslandError
from cluster.skypilot.command import Sky
from orchestrator.planning.prices import Price

_NAMES = {"A100-80": "A100-80GB", "A100-40": "A100"}  # of those that it calls otherwise


def catalogue_offers(command: str, gpu: str, num_gpus: int) -> tuple[Price, ...]:
    """The lowest prices of each cloud, of nodes like an island's.

    Args:
        command: SkyPilot's program.
        gpu: as ``--gpu`` names it.
        num_gpus: of a node.

    Raises:
        BadInput: SkyPilot does not answer, or knows of no such node.
    """
    wanted = f"{_NAMES.get(gpu, gpu)}:{num_gpus}"
    try:
        found = Sky(command).ask("gpus", "list", wanted)
    except IslandError as error:
        raise BadInput(f"--prices skypilot: {error}; see skypilot.command") from error
    rows = [row for kind in found.values() for row in kind if row["accelerator_count"] == num_gpus]
    if not rows:
        raise BadInput(f"--prices skypilot: its catalogue has no node of {num_gpus} x {gpu}")
    clouds = sorted({row["cloud"] for row in rows})
    offers = (
        (cloud, *(_least(rows, cloud, kind) for kind in ("price", "spot_price")))
        for cloud in clouds
    )
    return tuple(
        Price(
            provider=f"skypilot/{cloud.lower()}",
            gpu=gpu,
            gpus=num_gpus,
            on_demand=on_demand,
            spot=spot,
        )
        for cloud, on_demand, spot in offers
        if on_demand is not None
    )


def _least(rows: list[dict[str, Any]], cloud: str, kind: str) -> float | None:
    """Of a cloud; None where it has none of that kind, which is told as null or as no number."""
    prices = [row[kind] for row in rows if row["cloud"] == cloud]
    return min((price for price in prices if price and math.isfinite(price)), default=None)
