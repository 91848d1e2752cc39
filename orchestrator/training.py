"""The stages that train: from a partition to checkpoints, by way of the fleet."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from atoll import layout, stages
from atoll.blobs import BlobStore, open_store
from atoll.command import say
from atoll.config import Config
from atoll.jobs import job_specs, shaping_settings
from atoll.types import CheckpointRef, JobSpec, Role
from orchestrator.launch import Launch, run_jobs
from orchestrator.watch import watch_on_stderr

TRAIN, ROUTE = "train", "route"


def train(config: Config, *names: str, trainer: Sequence[str] = ()) -> dict[str, CheckpointRef]:
    """Train what some stages ask for, all their jobs in one fleet.

    Args:
        config: the run.
        names: ``train`` for the experts, and the monolith if the evaluation wants one; ``route``
            for the router.
        trainer: command that islands run in place of Atoll's trainers; () for those.

    Returns:
        The last checkpoint of each job, by its name.

    Raises:
        StageMissing: the data are not partitioned yet.
        BadInput: the run was begun with other settings, or cannot start as configured.
        JobFailed: a job was given up.
        Interrupted: the user stopped it; the same call goes on.
    """
    store = open_store(config.run.uri)
    wanted = [_stage(store, name, config) for name in names]
    done = [spec.name for stage in wanted for spec in stage.specs if stage.is_made(spec)]
    if done:
        say(f"already trained: {', '.join(done)}")
    missing = [spec for stage in wanted for spec in stage.specs if not stage.is_made(spec)]
    made: dict[str, CheckpointRef] = {}
    if missing:
        made = run_jobs(Launch(config, missing, trainer), watch_on_stderr(config.run.uri))
    results = [stage.finish(store, made) for stage in wanted]
    return {name: ref for refs in results for name, ref in refs.items()}


@dataclass(frozen=True, slots=True)
class _Stage:
    """A training stage of a run: its jobs, and what is known of their results.

    Attributes:
        name: ``train`` or ``route``.
        inputs: the settings that shape its weights.
        specs: its jobs.
        before: checkpoints it ended with earlier, by job, as JSON.
    """

    name: str
    inputs: dict[str, Any]
    specs: list[JobSpec]
    before: dict[str, Any]

    def is_made(self, spec: JobSpec) -> bool:
        return bool(self.before.get(spec.name, {}).get("step") == spec.steps)

    def finish(self, store: BlobStore, made: dict[str, CheckpointRef]) -> dict[str, CheckpointRef]:
        fresh = {spec.name: asdict(made[spec.name]) for spec in self.specs if spec.name in made}
        result = self.before | fresh
        if fresh:
            stages.finish(store, self.name, self.inputs, result)
        return {spec.name: CheckpointRef(**result[spec.name]) for spec in self.specs}


def _stage(store: BlobStore, name: str, config: Config) -> _Stage:
    digest = stages.require(store, "partition", needed_by=name)["digest"]
    roles = [Role.ROUTER]
    if name == TRAIN:
        # The monolith takes the longest: begin with it, and the experts fill the other islands.
        roles = [Role.MONOLITH, Role.EXPERT] if config.evaluation.monolith else [Role.EXPERT]
    inputs = shaping_settings(config, digest, roles[0])
    before = stages.finished(store, name, inputs) or {}
    specs = job_specs(config, digest, roles)
    _begin(store, name, inputs, specs)
    return _Stage(name, inputs, specs, before)


def _begin(store: BlobStore, name: str, inputs: dict[str, Any], specs: Sequence[JobSpec]) -> None:
    """Lay the settings down, so that others are refused by name once there is a checkpoint."""
    begun = f"begun-{name}"
    if any(store.list(layout.job_folder(spec.name)) for spec in specs):
        stages.finished(store, begun, inputs)
    stages.finish(store, begun, inputs, {})
