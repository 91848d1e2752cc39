"""Averages of another length in place of those that were tracked: which, and who asks for them."""

from __future__ import annotations

from collections.abc import Mapping

from atoll import layout, stages
from atoll.blobs import BlobStore
from atoll.config import Config
from atoll.errors import StageMissing
from atoll.types import CheckpointRef


def stage_of(length: float) -> str:
    """The stage that `atoll average` finishes for a length."""
    return f"average-{length:g}"


def as_sampled(
    store: BlobStore, config: Config, trained: Mapping[str, CheckpointRef], needed_by: str
) -> dict[str, CheckpointRef]:
    """The checkpoints to sample from: those trained, or with averages of ``sampling.ema_length``.

    The first of ``training.ema_lengths`` is what those trained are sampled by as they are.

    Args:
        store: where the run is.
        config: of the run.
        trained: the last checkpoint of each job; that of a router stays as it is.
        needed_by: command to name where one is missing.

    Raises:
        StageMissing: averages of that length are not made yet, or of earlier steps; says how to.
        BadInput: the run has tracked other lengths than the configuration says.
    """
    length = config.sampling.ema_length
    if length is None:
        return dict(trained)
    if length == config.training.ema_lengths[0]:
        tracked = {"ema_profile": "power", "ema_lengths": list(config.training.ema_lengths)}
        stages.refuse_other(store, "train", {"training": tracked})
        return dict(trained)
    made = stages.find(store, stage_of(length)) or {}
    found = {}
    for job, ref in trained.items():
        if job != layout.ROUTER_JOB and made.get(job, {}).get("step") != ref.step:
            raise StageMissing(
                f"`atoll {needed_by}` was asked for sampling.ema_length = {length:g}, and there is "
                f"no average of that length for {job} at step {ref.step}; run `atoll average "
                f"--length {length:g}` first, or leave the key out"
            )
        found[job] = ref if job == layout.ROUTER_JOB else CheckpointRef(**made[job])
    return found
