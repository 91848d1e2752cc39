"""The networks an evaluation judges: those that the settings describe, or none."""

from __future__ import annotations

import json
from typing import Any

from atoll import stages
from atoll.averaged import as_sampled
from atoll.blobs import BlobStore, open_store
from atoll.checkpoints import MANIFEST
from atoll.config import Config
from atoll.errors import StageMissing
from atoll.jobs import WHY_IT_SHAPES, job_specs, shaping_settings
from atoll.types import CheckpointRef, Role
from experts.profiles import told_in
from partition.stage import find_partition


def trained(config: Config, needed_by: str) -> dict[str, CheckpointRef]:
    """The last checkpoint of every job that the configuration's rows are painted with.

    Args:
        config: of the run.
        needed_by: command to name where something is missing.

    Raises:
        StageMissing: a job is not trained, or not to its last step; says which command trains it;
            or there is no average of ``sampling.ema_length``.
        BadInput: the run was made with other settings; names the key.
    """
    store = open_store(config.run.uri)
    find_partition(config)  # refuses one of other settings
    digest = stages.require(store, "partition", needed_by)["digest"]
    roles = {"train": [Role.EXPERT]}
    if config.evaluation.monolith:
        roles["train"].append(Role.MONOLITH)
    if config.sampling.gate == "learned":
        roles["route"] = [Role.ROUTER]
    refs = {}
    for stage, wanted in roles.items():
        made = stages.require(store, stage, needed_by)
        inputs = shaping_settings(config, digest, wanted[0])
        stages.finished(store, stage, inputs, WHY_IT_SHAPES)
        for spec in job_specs(config, digest, wanted):
            if made.get(spec.name, {}).get("step") != spec.steps:
                raise StageMissing(
                    f"`atoll {needed_by}` needs {spec.name} after step {spec.steps}, which this "
                    f"run does not hold; run `atoll {stage}` first"
                )
            refs[spec.name] = CheckpointRef(**made[spec.name])
    return as_sampled(store, config, refs, needed_by)


def weights_of(store: BlobStore, refs: dict[str, CheckpointRef]) -> dict[str, Any]:
    """What a recipe says of networks: digest, step and how they were averaged, by job.

    Raises:
        BlobMissing: a manifest is gone.
        BlobDamaged: a manifest is not what was written.
    """
    return {job: _named(store, ref) for job, ref in refs.items()}


def _named(store: BlobStore, ref: CheckpointRef) -> dict[str, Any]:
    manifest = json.loads(store.get_bytes(f"{ref.key}/{MANIFEST}", ref.digest))
    return {"digest": ref.digest, "step": ref.step, **told_in(manifest["about"])}
