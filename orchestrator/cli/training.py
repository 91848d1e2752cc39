"""The stages that train: from a partition to checkpoints, by way of the fleet."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from atoll import checkpoints, encoded, fit, layout, stages
from atoll.blobs import BlobStore, local_path, open_store
from atoll.command import say
from atoll.config import Config
from atoll.errors import CheckpointDamaged
from atoll.heard import tell_of_cut
from atoll.jobs import WHY_IT_SHAPES, job_specs, shaping_settings
from atoll.partitioned import require_partition
from atoll.types import CheckpointRef, JobSpec, Role, Submission
from orchestrator.cli.launch import Launch, run_jobs
from orchestrator.cli.live import watch_on_stderr
from orchestrator.cli.refining import lay_down

TRAIN, ROUTE = "train", "route"


def train(
    config: Config, *names: str, trainer: Sequence[str] = (), verify: bool = False
) -> dict[str, CheckpointRef]:
    """Train what some stages ask for, all their jobs in one fleet.

    Args:
        config: the run.
        names: ``train`` for the experts, and the monolith if the evaluation wants one; ``route``
            for the router.
        trainer: command that islands run in place of Atoll's trainers; () for those.
        verify: read every byte of what was made earlier, instead of looking whether it is there.

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
    for stage in wanted:
        stage.doubt(store, checkpoints.require_sound if verify else checkpoints.require_whole)
    done = [spec.name for stage in wanted for spec in stage.specs if stage.is_made(spec)]
    if done:
        say(f"already trained: {', '.join(done)}")
    partition = stages.require(store, "partition", needed_by=TRAIN)
    if TRAIN in names:
        tell_of_cut(store, config, partition)
    missing = [job for stage in wanted for job in stage.missing()]
    for stage in _with_router(store, config, wanted) if missing else ():
        lay_down(config, store, stage.name, stage.specs, stage.written)
    for stage in wanted:
        # Laid down, so that others are refused by name once there is a checkpoint.
        stages.finish(store, begun(stage.name), stage.inputs, {})
    made: dict[str, CheckpointRef] = {}
    if missing:
        specs = [job.spec for job in missing]
        _refuse_small_cache(config, store, specs)
        sizes = [each["num_samples"] for each in partition["shard_sets"]]
        fit.refuse_batches(config, specs, sizes)
        if any(job.spec.role is not Role.ROUTER for job in missing):
            channels, *_ = encoded.seen_shape(store, partition)
            fit.refuse_init(config, channels)
        made = run_jobs(Launch(config, missing, trainer), watch_on_stderr(config.run.uri))
    results = [stage.finish(store, made) for stage in wanted]
    return {name: ref for refs in results for name, ref in refs.items()}


def _with_router(store: BlobStore, config: Config, wanted: list[_Stage]) -> list[_Stage]:
    """The same, and the router's where experts are trained that it is to know apart.

    Its schedule, too, is refined by the earlier run, which may be gone when it is trained.
    """
    names = {stage.name for stage in wanted}
    is_later = ROUTE not in names and config.sampling.gate == "learned"
    if config.training.refined_from is None or not is_later:
        return wanted
    return [*wanted, _stage(store, ROUTE, config)]


def refuse_other_settings(config: Config) -> None:
    """Check a configuration against what the run was begun with.

    Raises:
        BadInput: partition or checkpoints were made with other settings; names the first that
            differs.
    """
    store = open_store(config.run.uri)
    made = stages.find(store, "partition")
    # Until all is made nothing can have been trained.
    if made is not None and encoded.is_encoded(store, config, made["digest"]):
        for name in (TRAIN, ROUTE):
            _stage(store, name, config)


@dataclass(frozen=True, slots=True)
class _Stage:
    """A training stage of a run: its jobs, and what is known of their results.

    Attributes:
        name: ``train`` or ``route``.
        inputs: the settings that shape its weights.
        specs: its jobs.
        before: checkpoints it ended with earlier, by job, as JSON.
        epochs: the newest under which its jobs wrote anything, by job; 0 for nothing.
        damaged: jobs whose last checkpoint is not whole any more.
    """

    name: str
    inputs: dict[str, Any]
    specs: list[JobSpec]
    before: dict[str, Any]
    epochs: dict[str, int]
    damaged: set[str] = field(default_factory=set)

    def doubt(self, store: BlobStore, require: Callable[[BlobStore, CheckpointRef], None]) -> None:
        """Look after the checkpoints made earlier; those found damaged count as not made."""
        for spec in filter(self.is_made, self.specs):
            try:
                require(store, CheckpointRef(**self.before[spec.name]))
            except CheckpointDamaged as error:
                say(f"{spec.name} is trained again: {error}")
                self.damaged.add(spec.name)

    @property
    def written(self) -> set[str]:
        """Jobs that left something in the store."""
        return {job for job, epoch in self.epochs.items() if epoch}

    def is_made(self, spec: JobSpec) -> bool:
        made = self.before.get(spec.name, {})
        return made.get("step") == spec.steps and spec.name not in self.damaged

    def missing(self) -> list[Submission]:
        return [
            Submission(
                spec, self.epochs[spec.name], self._checkpoint(spec), spec.name in self.damaged
            )
            for spec in self.specs
            if not self.is_made(spec)
        ]

    def finish(self, store: BlobStore, made: dict[str, CheckpointRef]) -> dict[str, CheckpointRef]:
        fresh = {spec.name: asdict(made[spec.name]) for spec in self.specs if spec.name in made}
        result = self.before | fresh
        if fresh:
            stages.finish(store, self.name, self.inputs, result)
        return {spec.name: CheckpointRef(**result[spec.name]) for spec in self.specs}

    def _checkpoint(self, spec: JobSpec) -> CheckpointRef | None:
        made = self.before.get(spec.name)
        return CheckpointRef(**made) if made else None


def _stage(store: BlobStore, name: str, config: Config) -> _Stage:
    partition = require_partition(store, config, name)
    digest = partition["digest"]
    encoded.refuse_unencoded(store, config, digest, name)
    factor = encoded.pixels_per_place(store, partition)
    for height, width in partition["buckets"] or [partition["shape"][:2]]:
        fit.refuse_patches(config, height // factor, width // factor, factor=factor)
    fit.refuse_condition(
        config,
        has_labels=bool(partition["class_names"]),
        has_captions=partition["has_captions"],
    )
    fit.refuse_missing_captions(config, partition["num_without_caption"])
    if num := config.training.held_out:
        sizes = {number: each["num_samples"] for number, each in enumerate(partition["shard_sets"])}
        fit.refuse_held_out(num, sizes)
    roles = [Role.ROUTER]
    if name == TRAIN:
        # The monolith takes the longest: begin with it, and the experts fill the other islands.
        roles = [Role.MONOLITH, Role.EXPERT] if config.evaluation.monolith else [Role.EXPERT]
    inputs = shaping_settings(config, digest, roles[0])
    specs = _heaviest_first(job_specs(config, digest, roles), config, partition)
    epochs = {spec.name: _newest_epoch(store, spec.name) for spec in specs}
    if any(epochs.values()):
        stages.finished(store, begun(name), inputs, WHY_IT_SHAPES)
    before = stages.finished(store, name, inputs, WHY_IT_SHAPES) or {}
    return _Stage(name, inputs, specs, before, epochs)


def _heaviest_first(
    specs: list[JobSpec], config: Config, partition: dict[str, Any]
) -> list[JobSpec]:
    """Jobs are granted in this order, see :mod:`orchestrator.fleet.matching`."""
    if config.training.share == "equal":
        return specs
    sizes = [shard_set["num_samples"] for shard_set in partition["shard_sets"]]
    share = {spec.name: sizes[spec.index] for spec in specs if spec.role is Role.EXPERT}
    return sorted(specs, key=lambda spec: -share.get(spec.name, sum(sizes)))


def _refuse_small_cache(config: Config, store: BlobStore, specs: Sequence[JobSpec]) -> None:
    """Here, where it is known at once, what every island would find."""
    in_place = local_path(config.run.uri) is not None and not config.cache.copy_always
    if in_place or not config.cache.size_bytes:
        return
    sizes = encoded.seen_bytes(store, stages.require(store, "partition", needed_by=TRAIN))
    needs = {
        spec.name: sizes[spec.index] if spec.role is Role.EXPERT else sum(sizes) for spec in specs
    }
    fit.refuse_cache(config.cache.size_bytes, needs)


def begun(name: str) -> str:
    """What tells that a stage was begun, and with which settings."""
    return f"begun-{name}"


def _newest_epoch(store: BlobStore, job: str) -> int:
    keys = store.list(layout.job_folder(job))
    return max((layout.epoch_of(key) for key in keys), default=0)
