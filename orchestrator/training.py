"""The stages that train: from a partition to checkpoints, by way of the fleet."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict

from atoll import stages
from atoll.blobs import open_store
from atoll.command import say
from atoll.config import Config
from atoll.jobs import job_specs, shaping_settings
from atoll.types import CheckpointRef, Role
from orchestrator.launch import Launch, run_jobs
from orchestrator.watch import watch_on_stderr


def train(config: Config, trainer: Sequence[str] = ()) -> dict[str, CheckpointRef]:
    """Train the experts, and the monolith if the evaluation wants one.

    Args:
        config: the run.
        trainer: command that islands run in place of Atoll's trainers; () for those.

    Returns:
        The last checkpoint of each job, by its name.

    Raises:
        StageMissing: the data are not partitioned yet.
        BadInput: the run was begun with other settings, or cannot start as configured.
        JobFailed: a job was given up.
        Interrupted: the user stopped it; the same call goes on.
    """
    # The monolith first: it takes the longest, and the experts fill the other islands meanwhile.
    roles = [Role.MONOLITH, Role.EXPERT] if config.evaluation.monolith else [Role.EXPERT]
    return _stage("train", config, roles, trainer)


def route(config: Config, trainer: Sequence[str] = ()) -> dict[str, CheckpointRef]:
    """Train the router; see :func:`train`."""
    return _stage("route", config, [Role.ROUTER], trainer)


def _stage(
    stage: str, config: Config, roles: Sequence[Role], trainer: Sequence[str]
) -> dict[str, CheckpointRef]:
    store = open_store(config.run.uri)
    partition = stages.require(store, "partition", needed_by=stage)
    inputs = shaping_settings(config, partition["digest"], roles[0])
    # Kept from the beginning, so that other settings are refused by name half-way, too.
    begun = f"begun-{stage}"
    if stages.finished(store, begun, inputs) is None:
        stages.finish(store, begun, inputs, {})
    specs = job_specs(config, partition["digest"], roles)
    made = stages.finished(store, stage, inputs) or {}
    done = [spec.name for spec in specs if made.get(spec.name, {}).get("step") == spec.steps]
    if done:
        say(f"already trained: {', '.join(done)}")
    missing = [spec for spec in specs if spec.name not in done]
    if missing:
        launch = Launch(config, missing, trainer)
        refs = run_jobs(launch, watch_on_stderr(config.run.uri))
        made |= {name: asdict(ref) for name, ref in refs.items()}
        stages.finish(store, stage, inputs, made)
    return {spec.name: CheckpointRef(**made[spec.name]) for spec in specs}
