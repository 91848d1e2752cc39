"""A small real run: the digits in two clusters, and jobs trained on them."""

import dataclasses
import shutil
from pathlib import Path

import pytest
import torch

from atoll.blobs import open_store
from atoll.config import Config
from atoll.config_file import save_config
from atoll.jobs import job_specs
from atoll.node_cache import NodeCache
from atoll.parallel_section import ParallelSection
from atoll.relay import Listener, Published
from atoll.types import Assignment, Lease, Role
from experts.expert import expert_task
from experts.loop import train
from experts.parallel.mesh import Mesh
from experts.workplace import Workplace
from partition.reader import ShardReader
from partition.stage import load_partition, run_partition

SETTINGS = {
    "partition": {"num_experts": 2, "num_fine": 8},
    "expert": {"width": 16, "depth": 1, "heads": 2, "patch": 4},
    "training": {
        "steps": 20,
        "batch_size": 12,
        "checkpoint_every_steps": 6,
        "log_every_steps": 4,
        "grid_every_steps": 100,
        "warmup_steps": 3,
        "ema_decay": 0.9,
    },
}


@dataclasses.dataclass(frozen=True)
class Run:
    """A partitioned run, and what a test does with it."""

    config: Config
    folder: Path

    @property
    def store(self):
        return open_store(self.config.run.uri)

    @property
    def partition(self):
        return load_partition(self.store)

    def assignment(self, role=Role.EXPERT, epoch=1, checkpoint=None, number=0):
        spec = job_specs(self.config, self.partition.digest, [role])[number]
        return Assignment(Lease(spec.name, "island", epoch, 10.0), spec, checkpoint)

    def work_dir(self, name):
        path = self.folder / name
        path.mkdir(exist_ok=True)
        return path

    def batch(self, task, num):
        """The first samples a task learns from."""
        return self._samples(task).batch(0, num)

    def train(self, assignment, drain=lambda: False, wish=lambda: None):
        """Train in this process; returns whether it finished."""
        work_dir = self.work_dir(f"work-{assignment.lease.epoch}")
        task = expert_task(self.config, assignment.spec, self.partition)
        samples = self._samples(task)
        at = Workplace(
            assignment,
            self.store,
            work_dir,
            Mesh(),
            ParallelSection(),
            torch.device("cpu"),
            drain,
            wish,
        )
        return train(task, samples, at)

    def said(self, epoch=1):
        """What the trainer of a lease said."""
        return list(Listener(self.work_dir(f"work-{epoch}")).heard())

    def _samples(self, task):
        return ShardReader(
            self.store,
            self.partition,
            task.clusters,
            NodeCache(self.folder / "shards"),
            self.config.run.seed,
            held_out=task.training.held_out,
            features=task.aligns,
        )

    def published(self, epoch=1):
        """The checkpoints it reported."""
        return [m.checkpoint for m in self.said(epoch) if isinstance(m, Published)]


@pytest.fixture(scope="session")
def partitioned(tmp_path_factory):
    folder = tmp_path_factory.mktemp("partitioned") / "run"
    run_partition(Config.model_validate({"run": {"uri": str(folder)}, **SETTINGS}), lambda *_: None)
    return folder


@pytest.fixture
def make_run(partitioned, tmp_path):
    """Copies the partitioned run; settings of a section are given as ``training={…}``.

    None stands for a key's default.
    """

    def make(**sections):
        folder = tmp_path / "run"
        shutil.copytree(partitioned, folder, dirs_exist_ok=True)
        settings = {
            name: {
                key: value
                for key, value in {**SETTINGS.get(name, {}), **keys}.items()
                if value is not None
            }
            for name, keys in sections.items()
        }
        tree = {"run": {"uri": str(folder)}, **SETTINGS, **settings}
        config = Config.model_validate(tree)
        save_config(open_store(str(folder)), config)
        return Run(config, tmp_path)

    return make


@pytest.fixture
def run(make_run):
    return make_run()
