"""A small real run with every network trained for a few steps."""

import dataclasses
import shutil
from dataclasses import asdict
from pathlib import Path

import pytest
import torch

from atoll import stages
from atoll.blobs import open_store
from atoll.config import Config
from atoll.jobs import job_specs, shaping_settings
from atoll.node_cache import NodeCache
from atoll.parallel_section import ParallelSection
from atoll.relay import Listener, Published
from atoll.types import Assignment, Lease, Role
from evaluation import classifier
from evaluation.stage import run_evaluate
from experts.expert import expert_task
from experts.loop import train
from experts.parallel.mesh import Mesh
from experts.workplace import Workplace
from partition.reader import ShardReader
from partition.stage import run_partition
from router.task import router_task

SETTINGS = {
    "partition": {"num_experts": 3, "num_fine": 9},
    "expert": {"width": 16, "depth": 1, "heads": 2, "patch": 4},
    "training": {"steps": 12, "batch_size": 24, "ema_decay": 0.5, "log_every_steps": 3},
    "router": {"width": 16, "depth": 1, "heads": 2, "patch": 4, "steps": 12, "batch_size": 24},
    "sampling": {"steps": 2},
    "evaluation": {"num_samples": 90, "strategies": ["full", "top-1", "top-2"]},
}


@dataclasses.dataclass(frozen=True)
class Run:
    """A run whose networks are trained."""

    config: Config

    @property
    def store(self):
        return open_store(self.config.run.uri)

    @property
    def folder(self):
        return Path(self.config.run.uri)

    def with_(self, **sections):
        """The same run under other settings, a dictionary for each section."""
        tree = self.config.model_dump()
        settings = {name: {**tree[name], **keys} for name, keys in sections.items()}
        return Config.model_validate({**tree, **settings})


@pytest.fixture(scope="session")
def trained(tmp_path_factory):
    folder = tmp_path_factory.mktemp("trained")
    config = Config.model_validate({"run": {"uri": str(folder / "run")}, **SETTINGS})
    store, partition = open_store(config.run.uri), run_partition(config, lambda *_: None)

    def done(spec):
        work_dir = folder / spec.name
        work_dir.mkdir()
        make = router_task if spec.role is Role.ROUTER else expert_task
        task = make(config, spec, partition)
        samples = ShardReader(store, partition, task.clusters, NodeCache(work_dir), config.run.seed)
        assignment = Assignment(Lease(spec.name, "island", 1, 10.0), spec, None)
        here = Workplace(
            assignment,
            store,
            work_dir,
            Mesh(),
            ParallelSection(),
            torch.device("cpu"),
            drain=lambda: False,
        )
        train(task, samples, here)
        published = [m for m in Listener(work_dir).heard() if isinstance(m, Published)]
        return asdict(published[-1].checkpoint)

    def stage(name, *roles):
        specs = job_specs(config, partition.digest, roles)
        inputs = shaping_settings(config, partition.digest, roles[0])
        stages.finish(store, name, inputs, {spec.name: done(spec) for spec in specs})

    stage("train", Role.EXPERT, Role.MONOLITH)
    stage("route", Role.ROUTER)
    return folder / "run"


@pytest.fixture(scope="session")
def evaluated(trained):
    """The trained run, evaluated once for all tests that only look."""
    config = Config.model_validate({"run": {"uri": str(trained)}, **SETTINGS})
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(classifier, "_STEPS", 40)
        run_evaluate(config, lambda *_: None)
    return Run(config)


@pytest.fixture
def run(evaluated, tmp_path, monkeypatch):
    """A copy of the evaluated run, to be changed at will."""
    monkeypatch.setattr(classifier, "_STEPS", 40)  # as many as the evaluated run took
    folder = tmp_path / "run"
    shutil.copytree(evaluated.config.run.uri, folder)
    return Run(evaluated.with_(run={"uri": str(folder)}))


@pytest.fixture
def row():
    """Makes a row of the comparison, as JSON."""

    def made(name, frechet, gflops=None):
        scores = {
            "num_samples": 100,
            "frechet": frechet,
            "kid": frechet / 1000,
            "kid_std": 0.0,
            "precision": 0.9,
            "recall": 0.8,
            "density": 1.0,
            "coverage": 0.7,
        }
        cost = gflops and {
            "gflops_per_image": gflops,
            "experts_per_step": 1.0,
            "usage": [1.0],
            "seconds": 1.0,
        }
        weights = {"digest": "w", "step": 1200, "ema_decay": 0.9}
        recipe = {
            "row": name,
            "gate": "learned",
            "checkpoints": {"expert-0": weights, "router": {**weights, "ema_decay": 0.5}},
            "solver": "heun",
            "steps": 7,
            "guidance": 1.5,
            "seed": 3,
            "num_samples": 1000,
            "extractor": {"name": "classifier", "digest": "e"},
            "reference": {"num_samples": 1797, "digest": "r"},
        }
        return {"name": name, "scores": scores, "cost": cost, "recipe": recipe}

    return made
