"""Curves of an earlier run, laid down in a new one for schedules that are refined by them."""

from __future__ import annotations

import json
import math
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any

from atoll import checkpoints, layout, stages
from atoll.blobs import BlobStore, open_store
from atoll.command import say
from atoll.config import Config
from atoll.errors import BadInput
from atoll.types import CheckpointRef, JobSpec

_FEWEST_POINTS = 20  # a tenth of them is smoothed over


def lay_down(
    config: Config, store: BlobStore, stage: str, specs: Sequence[JobSpec], begun: Collection[str]
) -> None:
    """Store the curve that each job's schedule is refined by, once: a job never changes it.

    Islands read it there; they need not reach the earlier run, which may go on or be deleted.

    Args:
        config: of the run.
        store: where the run is.
        stage: ``train`` or ``route``, in the earlier run too.
        specs: its jobs.
        begun: those of them that have written a checkpoint.

    Raises:
        BadInput: the earlier run did not train such a job to its end, or has too few points; or a
            job was begun, and what its schedule was made of is gone.
        CheckpointDamaged: the checkpoint with its curve is not what was written.
    """
    uri = config.training.refined_from
    if uri is None:
        return
    for spec in specs:
        key = layout.refined_schedule(spec.name)
        if store.exists(key) and json.loads(store.get_bytes(key))["from"] == uri:
            continue
        if spec.name in begun:
            raise BadInput(
                f"{key} is gone, by which the schedule of {spec.name} was refined; copy it back "
                "into the run, or train under a run.uri of its own"
            )
        points = _curve(uri, stage, spec.name, layout.state_folder(config.run.uri) / "cache")
        store.publish(key, json.dumps({"from": uri, "points": points}).encode())
        say(f"{spec.name}: schedule refined by {len(points)} points of its curve in {uri}")


def _curve(uri: str, stage: str, job: str, cache: Path) -> list[tuple[int, float]]:
    """Steps and gradient norms of a job's last checkpoint in a run."""
    store = open_store(uri)
    made = (stages.find(store, stage) or {}).get(job)
    if made is None:
        other = ", or set sampling.gate to one that is not learned" if stage == "route" else ""
        raise BadInput(
            f"training.refined_from = {uri!r} holds no {job} that was trained to its end; run "
            f"`atoll {stage}` there first, or name another run{other}"
        )
    folder = checkpoints.download(store, CheckpointRef(**made), cache, names=(layout.HISTORY,))
    told: list[dict[str, Any]] = json.loads(folder.files[layout.HISTORY].read_bytes())
    points = [(point["step"], point["grad_norm"]) for point in told]
    points = [(step, norm) for step, norm in points if math.isfinite(norm) and norm > 0]
    if len(points) < _FEWEST_POINTS:
        raise BadInput(
            f"training.refined_from = {uri!r} has a curve of {len(points)} points for {job}, and "
            f"{_FEWEST_POINTS} are the fewest to be smoothed; train that run anew with "
            f"training.log_every_steps = {max(1, made['step'] // _FEWEST_POINTS)} or less"
        )
    return points
