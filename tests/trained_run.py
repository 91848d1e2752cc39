"""A small run of the digits that was really trained, in this process."""

from __future__ import annotations

import shutil
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch

from atoll import stages
from atoll.blobs import open_store
from atoll.config import Config
from atoll.jobs import job_specs, shaping_settings
from atoll.node_cache import NodeCache
from atoll.parallel_section import ParallelSection
from atoll.relay import Listener, Published
from atoll.types import Assignment, Lease, Role
from experts.decoding import decoder_of
from experts.expert import expert_task
from experts.loop import train
from experts.parallel.mesh import Mesh
from experts.workplace import Workplace
from partition.encoding.stage import run_encode
from partition.reader import ShardReader
from partition.stage import load_partition, run_partition
from router.task import router_task

SETTINGS = {
    "partition": {"num_experts": 2, "num_fine": 8},
    "expert": {"width": 16, "depth": 1, "heads": 2, "patch": 4},
    "training": {"steps": 4, "batch_size": 16, "checkpoint_every_steps": 4},
    "router": {"width": 16, "depth": 1, "heads": 2, "patch": 4, "steps": 6, "batch_size": 16},
    "sampling": {"steps": 3},
}


@dataclass(frozen=True)
class Run:
    """A run of the digits in two clusters, on this machine and in this process."""

    config: Config
    folder: Path

    @property
    def uri(self):
        return self.config.run.uri

    @property
    def store(self):
        return open_store(self.uri)

    def spec(self, role, number=0):
        return job_specs(self.config, load_partition(self.store).digest, [role])[number]

    def train(self, spec, *, epoch=1, checkpoint=None, drain=lambda: False):
        """Train a job in this process; returns its last checkpoint."""
        work_dir = self.folder / f"work-{spec.name}-{epoch}"
        work_dir.mkdir()
        partition = load_partition(self.store)
        make = router_task if spec.role is Role.ROUTER else expert_task
        task = make(self.config, spec, partition)
        cache = NodeCache(work_dir / "cache")
        held_out = task.training.held_out
        samples = ShardReader(
            self.store, partition, task.clusters, cache, seed=0, held_out=held_out
        )
        assignment = Assignment(Lease(spec.name, "island", epoch, 10.0), spec, checkpoint)
        train(
            task,
            samples,
            Workplace(
                assignment,
                self.store,
                work_dir,
                Mesh(),
                ParallelSection(),
                torch.device("cpu"),
                drain,
                decode=decoder_of(
                    self.store, partition, work_dir / "cache", torch.device("cpu"), keeps=False
                ),
            ),
        )
        published = [m for m in Listener(work_dir).heard() if isinstance(m, Published)]
        return published[-1].checkpoint

    def finish(self, stage, refs):
        role = Role.ROUTER if stage == "route" else Role.EXPERT
        inputs = shaping_settings(self.config, load_partition(self.store).digest, role)
        stages.finish(self.store, stage, inputs, {job: asdict(ref) for job, ref in refs.items()})


def run_below(folder: Path, **sections: Any) -> Run:
    """A run below a folder, of these sections beside or instead of the usual ones."""
    tree = {"run": {"uri": str(folder / "run")}, **SETTINGS, **sections}
    return Run(Config.model_validate(tree), folder)


def train_run(folder: Path, **sections: Any) -> Path:
    """Partition, encode, train and route below a folder; returns where the run is."""
    run = run_below(folder, **sections)
    made = run_partition(run.config, lambda *_: None)
    run_encode(run.config, made, lambda *_: None)
    experts = [run.spec(Role.EXPERT, number) for number in range(2)]
    run.finish("train", {spec.name: run.train(spec) for spec in experts})
    run.finish("route", {"router": run.train(run.spec(Role.ROUTER))})
    return folder / "run"


def with_sizes(run: Run, *sizes: tuple[int, int]) -> Run:
    """A run whose images are said to be of several sizes, heights and widths, its own first.

    Of each there is a shard, in which nobody looks.
    """
    made = stages.require(run.store, "partition", needed_by="a test")
    owner, *others = made["shard_sets"]
    (first, *_) = own = owner["shards"]
    more = [{**first, "num_samples": 0, "bucket": bucket} for bucket in range(1, len(sizes))]
    told = {"buckets": sizes, "shard_sets": [{**owner, "shards": [*own, *more]}, *others]}
    stages.finish(run.store, "partition", {}, {**made, **told})
    return run


def copied(trained: Path, folder: Path, **sections: Any) -> Run:
    """A copy of a trained run, below a folder of its own."""
    shutil.copytree(trained, folder / "run")
    return run_below(folder, **sections)
