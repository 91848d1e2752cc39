"""One training by one recipe, and how good its images are along the way."""

from __future__ import annotations

import functools
import json
import logging
import tempfile
from collections.abc import Collection
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from trainings import CPU, averaged, moved, refine, spec_of, trained

from atoll.blobs import open_store
from atoll.config import Config
from atoll.digests import digest_of
from atoll.flops import TRAINING
from atoll.training_section import TrainingSection
from atoll.types import CheckpointRef
from evaluation.extractor import open_extractor
from evaluation.painter import draw, wanted
from evaluation.real import RealImages, read_real
from evaluation.yardstick import Yardstick
from experts.decoding import decoder_of
from experts.expert import expert_task
from experts.load import load_expert
from experts.noising import conditioning_of
from partition.stage import load_partition
from router.ensemble import alone
from router.sampling import Sampler


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


def trial(
    recipe: dict[str, Any],
    seed: int,
    steps: Collection[int],
    out: Path,
    first: dict[str, Any] | None = None,
) -> list[Point]:
    """Train by a recipe and measure at some checkpoints; what was measured before is found.

    Args:
        recipe: the settings of a whole run, whose partition is there; of one expert.
        seed: of weights, order and noise.
        steps: after which to measure, where there is a checkpoint.
        out: folder where points are kept.
        first: settings of the training whose curve refines this one's schedule.
    """
    settings = {**recipe, "run": {**recipe["run"], "seed": seed}}
    told = [settings, sorted(steps), *([first] if first else [])]
    kept = out / f"{digest_of(told)[:16]}.json"
    if kept.exists():
        return [Point(**each) for each in json.loads(kept.read_text())]
    logging.disable()
    torch.set_num_threads(1)
    config = Config.model_validate(settings)
    judging = settings_of_judge(config)
    with tempfile.TemporaryDirectory() as folder:
        if first or config.sampling.ema_length is not None:
            config = moved(config, folder)  # what these leave in a run has the same name for all
        if first:
            refine(config, first)
        refs = trained(config)
        measured = [ref for ref in refs if ref.step in steps]
        if (length := config.sampling.ema_length) is not None:
            measured = [averaged(config, length, refs, ref) for ref in measured]
        points = _measured(config, measured, judging)
    kept.write_text(json.dumps([asdict(each) for each in points]))
    return points


def _measured(config: Config, refs: list[CheckpointRef], judging: str) -> list[Point]:
    real, yardstick = judge(judging)
    store = open_store(config.run.uri)
    partition = load_partition(store)
    task = expert_task(config, spec_of(config), partition)
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
    fixed = {
        "run": config.run.model_copy(update={"seed": 0}),
        "training": TrainingSection(),
        "sampling": config.sampling.model_copy(update={"ema_length": None}),
    }
    return config.model_copy(update=fixed).model_dump_json()


@functools.cache  # for all trials of a process
def judge(settings: str) -> tuple[RealImages, Yardstick]:
    """The real images and what measures by them, the same for every recipe and seed."""
    config = Config.model_validate_json(settings)
    store = open_store(config.run.uri)
    partition = load_partition(store)
    real = read_real(config, store, partition, conditioning_of(config, partition))
    return real, Yardstick(open_extractor(config, store, real), real)
