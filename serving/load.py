"""A run's checkpoints as an edition: experts come into memory when they are wanted."""

from __future__ import annotations

import functools
import threading
from pathlib import Path

import torch

from atoll import checkpoints
from atoll.blobs import BlobStore
from atoll.checkpoints import CheckpointFolder
from atoll.clock import Clock
from atoll.config import Config
from atoll.errors import CheckpointDamaged
from atoll.types import CheckpointRef
from experts.condition import Conditioning
from experts.files import EMA
from experts.flow import VelocityField
from experts.load import load_expert
from router.load import TrainedRun, load_gate, trained_run
from serving.alone import Batched, row_by_row
from serving.edition import Edition
from serving.engine import Engine, Model
from serving.menu import Menu
from serving.residency import Residency, Source
from serving.tick import Watch, nobody


def load_edition(  # noqa: PLR0917 - all that an edition is made of
    store: BlobStore,
    config: Config,
    cache: Path,
    device: torch.device,
    clock: Clock,
    bell: threading.Event,
    watch: Watch = nobody,
) -> Edition:
    """The newest checkpoints of a run, with no expert in memory yet.

    Args:
        store: where the run is.
        config: ``sampling.gate`` says which gate, ``serving`` how much at once.
        cache: folder for copies from a store that is not on this machine.
        device: for the networks.
        clock: for urgency.
        bell: is rung when there is something to draw.
        watch: is told of every tick, and of experts that come into memory and leave.

    Raises:
        StageMissing: experts, or the router where it is asked for, are not trained yet.
        CheckpointMismatch: the router does not belong to the experts.
        CheckpointDamaged: there is no expert at all, or the router is damaged.
        BadInput: the memory budget has no room for one expert.
    """
    trained = trained_run(store, config, needed_by="serve")
    gate = load_gate(store, config, trained, cache, device)
    described, lost = _described(store, trained, cache)
    first = next(iter(described.values()))
    for folder in gate.checkpoint:
        trained.refuse_unfit(first, folder)

    def exact(field: Batched) -> Batched:
        return row_by_row(field) if config.serving.deterministic else field

    def bring(ref: CheckpointRef) -> VelocityField:
        if ref.key in lost:
            raise lost[ref.key]
        expert = load_expert(store, ref, cache, device)
        trained.refuse_unfit(first, expert.checkpoint)
        return exact(expert.model)

    sizes = {key: folder.num_bytes[EMA] for key, folder in described.items()}
    sources = [
        Source(sizes.get(ref.key, 0), functools.partial(bring, ref)) for ref in trained.experts
    ]
    budget_bytes = round(config.serving.memory_gb * 1e9) or sum(
        source.num_bytes for source in sources
    )
    residency = Residency(sources, budget_bytes, bell, watch)
    channels, height, width = first.about["shape"]
    conditioning, shape = Conditioning(**first.about["conditioning"]), (channels, height, width)
    menu = Menu(
        conditioning=conditioning,
        class_names=trained.partition.class_names,
        num_experts=len(sources),
        shape=shape,
        defaults=config.sampling,
        limits=config.serving,
        checkpoints={job: ref.digest for job, ref in trained.checkpoints.items()},
    )
    engine = Engine(
        Model(residency, exact(gate.gate), conditioning, shape, device),
        clock,
        bell,
        num_slots=config.serving.slots,
        most_rows=config.serving.batch_rows,
        watch=watch,
    )
    return Edition(menu, engine, residency)


def _described(
    store: BlobStore, trained: TrainedRun, cache: Path
) -> tuple[dict[str, CheckpointFolder], dict[str, CheckpointDamaged]]:
    """What experts say of themselves, by key; and why some cannot be had: the others still can."""
    described, lost = {}, {}
    for ref in trained.experts:
        try:
            described[ref.key] = checkpoints.download(store, ref, cache, "train", names=())
        except CheckpointDamaged as error:
            lost[ref.key] = error
    if not described:
        raise next(iter(lost.values()))
    return described, lost
