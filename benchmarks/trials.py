"""One training by one recipe, and how good its images are along the way."""

from __future__ import annotations

import functools
import json
import logging
import tempfile
import time
from collections.abc import Collection
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch

from atoll.blobs import BlobStore, open_store
from atoll.config import Config
from atoll.digests import digest_of
from atoll.flops import TRAINING
from atoll.jobs import job_specs
from atoll.node_cache import open_cache
from atoll.parallel_section import ParallelSection
from atoll.relay import Listener, Published
from atoll.training_section import TrainingSection
from atoll.types import Assignment, CheckpointRef, Lease, Role
from evaluation.extractor import open_extractor
from evaluation.painter import draw, wanted
from evaluation.real import RealImages, read_real
from evaluation.yardstick import Yardstick
from experts.decoding import decoder_of
from experts.expert import expert_task
from experts.load import load_expert
from experts.loop import train
from experts.noising import conditioning_of
from experts.parallel.mesh import Mesh
from experts.workplace import Workplace
from partition.manifest import Partition
from partition.reader import ShardReader
from partition.stage import load_partition
from router.ensemble import alone
from router.sampling import Sampler

CPU = torch.device("cpu")


@dataclass(frozen=True)
class Point:
    """What a training had reached.

    Attributes:
        steps: it had made.
        flops: these had cost, forward and backward.
        frechet: distance of its images to the real ones.
        recall: share of real images that some of them come near to.
    """

    steps: int
    flops: float
    frechet: float
    recall: float


def trial(recipe: dict[str, Any], seed: int, steps: Collection[int], out: Path) -> list[Point]:
    """Train by a recipe and measure at some checkpoints; what was measured before is found.

    Args:
        recipe: the settings of a whole run, whose partition is there; of one expert.
        seed: of weights, order and noise.
        steps: after which to measure, where there is a checkpoint.
        out: folder where points are kept.
    """
    settings = {**recipe, "run": {**recipe["run"], "seed": seed}}
    kept = out / f"{digest_of([settings, sorted(steps)])[:16]}.json"
    if kept.exists():
        return [Point(**each) for each in json.loads(kept.read_text())]
    logging.disable()
    torch.set_num_threads(1)
    config = Config.model_validate(settings)
    store = open_store(config.run.uri)
    partition = load_partition(store)
    refs = [ref for ref in _trained(config, store, partition) if ref.step in steps]
    points = _measured(config, store, partition, refs)
    kept.write_text(json.dumps([asdict(each) for each in points]))
    return points


def _trained(config: Config, store: BlobStore, partition: Partition) -> list[CheckpointRef]:
    """The checkpoints of a whole training, as the train loop of a real run leaves them."""
    (spec,) = job_specs(config, partition.digest, [Role.EXPERT])
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


def _measured(
    config: Config, store: BlobStore, partition: Partition, refs: list[CheckpointRef]
) -> list[Point]:
    real, yardstick = judge(settings_of_judge(config))
    (spec,) = job_specs(config, partition.digest, [Role.EXPERT])
    task = expert_task(config, spec, partition)
    decode = decoder_of(store, partition, Path(tempfile.gettempdir()), CPU)
    step_flops = TRAINING * task.flops * task.training.batch_size
    points = []
    for ref in refs:
        expert = load_expert(store, ref, Path(tempfile.gettempdir()), CPU)
        sampler = Sampler(alone(expert.model, CPU), expert.conditioning, task.shape, CPU, decode)
        images = wanted(real, config.run.seed, config.evaluation.num_samples)
        painted = draw(sampler, images, config.sampling, str(ref.step))
        scores = yardstick.scores(painted)
        points.append(Point(ref.step, step_flops * ref.step, scores.frechet, scores.recall))
    return points


def settings_of_judge(config: Config) -> str:
    """What a judgement follows from: all but how a network is trained; as JSON, to be hashed."""
    fixed = {"run": config.run.model_copy(update={"seed": 0}), "training": TrainingSection()}
    return config.model_copy(update=fixed).model_dump_json()


@functools.cache  # for all trials of a process
def judge(settings: str) -> tuple[RealImages, Yardstick]:
    """The real images and what measures by them, the same for every recipe and seed."""
    config = Config.model_validate_json(settings)
    store = open_store(config.run.uri)
    partition = load_partition(store)
    real = read_real(config, store, partition, conditioning_of(config, partition))
    return real, Yardstick(open_extractor(config, store, real), real)
