"""What a run's partition was made with, as far as the control plane needs to know."""

from __future__ import annotations

from typing import Any

from atoll import stages
from atoll.blobs import BlobStore
from atoll.config import Config

STAGE = "partition"


def partition_inputs(config: Config) -> dict[str, Any]:
    """All of the configuration that a partition follows from, by section and key.

    Neither the processes that decode, however many, change a shard, nor do the flips of a step.
    """
    of_others = {"data": {"workers", "flip"}}
    sections = config.model_dump(mode="json", include={"data", "partition"}, exclude=of_others)
    return {**sections, "run": {"seed": config.run.seed}}


def require_partition(store: BlobStore, config: Config, needed_by: str) -> dict[str, Any]:
    """What the partition stage made with these settings, as JSON.

    Args:
        store: of the run.
        config: of the run.
        needed_by: command to name where there is none.

    Raises:
        StageMissing: the data are not partitioned yet.
        BadInput: the run holds a partition of other settings; names the first that differs.
    """
    made = stages.require(store, STAGE, needed_by)
    stages.finished(store, STAGE, partition_inputs(config))
    return made
