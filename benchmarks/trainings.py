"""The checkpoints of one training by one recipe, as the stages of a real run leave them."""

from __future__ import annotations

import tempfile
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch

from atoll import stages
from atoll.averaged import as_sampled
from atoll.blobs import open_store
from atoll.config import Config
from atoll.jobs import job_specs
from atoll.node_cache import open_cache
from atoll.parallel_section import ParallelSection
from atoll.relay import Listener, Published
from atoll.types import Assignment, CheckpointRef, JobSpec, Lease, Role
from experts.averaging import make_averages
from experts.expert import expert_task
from experts.loop import train
from experts.parallel.mesh import Mesh
from experts.workplace import Workplace
from orchestrator.cli.refining import lay_down
from partition.reader import ShardReader
from partition.stage import load_partition, run_partition

CPU = torch.device("cpu")


def moved(config: Config, folder: str) -> Config:
    """The configuration of a run of the same data in a folder, partitioned."""
    there = config.run.model_copy(update={"uri": folder})
    config = config.model_copy(update={"run": there})
    run_partition(config, lambda *_: None)
    return config


def trained(config: Config) -> list[CheckpointRef]:
    """All checkpoints of a training of the one expert of a run that is partitioned."""
    store = open_store(config.run.uri)
    partition = load_partition(store)
    spec = spec_of(config)
    task = expert_task(config, spec, partition)
    cache = open_cache(config.cache, config.run.uri)
    samples = ShardReader(store, partition, None, cache, config.run.seed, features=task.aligns)
    with tempfile.TemporaryDirectory() as work_dir:
        at = Workplace(
            # An epoch of no other training, so that what was cut short stands in nobody's way.
            assignment=Assignment(Lease(spec.name, "bench", time.time_ns(), 10.0), spec, None),
            store=store,
            work_dir=Path(work_dir),
            mesh=Mesh(),
            parallel=ParallelSection(),
            device=CPU,
            drain=lambda: False,
        )
        train(task, samples, at)
        return [it.checkpoint for it in Listener(at.work_dir).heard() if isinstance(it, Published)]


def refine(config: Config, first: dict[str, Any]) -> None:
    """Train by other settings in the same run, and lay their curve down for a refined schedule."""
    there = {**first["run"], "uri": config.run.uri, "seed": config.run.seed}
    *_, last = trained(Config.model_validate({**first, "run": there}))
    store, spec = open_store(config.run.uri), spec_of(config)
    stages.finish(store, "train", {}, {spec.name: asdict(last)})
    training = config.training.model_copy(update={"refined_from": config.run.uri})
    lay_down(config.model_copy(update={"training": training}), store, "train", [spec], ())


def averaged(
    config: Config, length: float, refs: list[CheckpointRef], last: CheckpointRef
) -> CheckpointRef:
    """An average of a length nobody tracked, made of a training's checkpoints up to one of them."""
    store, job = open_store(config.run.uri), spec_of(config).name
    stages.finish(store, "train", {}, {job: asdict(last)})
    make_averages(store, length, {job: refs}, Path(tempfile.gettempdir()))
    return as_sampled(store, config, {job: last}, "evaluate")[job]


def spec_of(config: Config) -> JobSpec:
    """Of the one expert of a run that is partitioned."""
    partition = load_partition(open_store(config.run.uri))
    (spec,) = job_specs(config, partition.digest, [Role.EXPERT])
    return spec
