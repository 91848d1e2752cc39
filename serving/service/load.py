"""A run's checkpoints as an edition."""

from __future__ import annotations

import functools
import math
import threading
from pathlib import Path

import torch
from safetensors.torch import load_file

from atoll import checkpoints
from atoll.blobs import BlobStore
from atoll.checkpoints import CheckpointFolder
from atoll.clock import Clock
from atoll.config import Config
from atoll.errors import CheckpointDamaged
from atoll.serving_section import ServingSection
from atoll.types import CheckpointRef
from experts.condition import Conditioning
from experts.decoding import LatentDecoder, decoder_of
from experts.files import EMA
from experts.flow import VelocityField
from experts.load import build_expert
from experts.prompting import prompt_encoder
from router.load import TrainedRun, load_gate, trained_run
from router.sizes import drawn_by
from serving.engine.alone import Batched, row_by_row
from serving.engine.engine import Engine
from serving.engine.model import Model
from serving.engine.tick import Watch, nobody
from serving.memory.holder import Holder
from serving.memory.host import HostMemory
from serving.memory.residency import Residency
from serving.memory.source import Source, Weights
from serving.service.edition import Edition, name_of
from serving.service.menu import Menu


def load_edition(  # noqa: PLR0917 - all that an edition is made of
    store: BlobStore,
    config: Config,
    cache: Path,
    device: torch.device,
    clock: Clock,
    bell: threading.Event,
    watch: Watch = nobody,
    holder: Holder | None = None,
) -> Edition:
    """The newest checkpoints of a run; its experts come into memory by themselves.

    Args:
        store: where the run is.
        config: ``sampling.gate`` says which gate, ``serving`` how much at once.
        cache: folder for copies from a store that is not on this machine.
        device: for the networks.
        clock: for urgency.
        bell: is rung when there is something to draw.
        watch: is told of every tick, and of experts that come into memory and leave.
        holder: of the experts, which other editions may share; None for memory of its own.

    Raises:
        StageMissing: experts, or the router where it is asked for, are not trained yet.
        CheckpointMismatch: the router does not belong to the experts, or the run's captions are
            encoded otherwise than theirs.
        CheckpointDamaged: there is no expert at all, or the router is damaged.
        BadInput: the memory budget has no room for one expert; or prompts cannot be encoded, or
            latents not be decoded.
        BlobError: the run's autoencoder cannot be fetched.
    """
    trained = trained_run(store, config, needed_by="serve")
    gate = load_gate(store, config, trained, cache, device)
    described, lost = _described(store, trained, cache)
    first = next(iter(described.values()))
    for folder in gate.checkpoint:
        trained.refuse_unfit(first, folder)

    def exact(field: Batched) -> Batched:
        return row_by_row(field) if config.serving.deterministic else field

    def read(ref: CheckpointRef) -> Weights:
        if ref.key in lost:
            raise lost[ref.key]
        trained.refuse_unfit(first, described[ref.key])
        folder = checkpoints.download(store, ref, cache, "train", names=(EMA,))
        # Copied, because they lie in the mapped file, which may be gone when they are looked at.
        return {name: tensor.clone() for name, tensor in load_file(folder.files[EMA]).items()}

    def build(ref: CheckpointRef, weights: Weights) -> VelocityField:
        return exact(build_expert(described[ref.key], weights))

    sources = [
        Source(
            key=ref.key,
            expert=expert,
            checkpoint=ref.digest,
            num_bytes=described[ref.key].num_bytes[EMA] if ref.key in described else 0,
            read=functools.partial(read, ref),
            build=functools.partial(build, ref),
        )
        for expert, ref in enumerate(trained.experts)
    ]
    decode = decoder_of(store, trained.partition, cache, device)
    if isinstance(decode, LatentDecoder):
        decode.open()  # rather than for the first customer
    conditioning, partition = Conditioning(**first.about["conditioning"]), trained.partition
    sizes = drawn_by(partition, config.sampling.gate)
    shape, *others = sizes.values()
    rows, columns, channels = partition.shape  # of an image
    menu = Menu(
        conditioning=conditioning,
        class_names=partition.class_names,
        encoder=prompt_encoder(store, partition, conditioning, cache, device),
        num_experts=len(sources),
        shape=(channels, rows, columns),
        sizes=sizes,
        defaults=config.sampling,
        limits=config.serving,
        checkpoints=_digests(trained),
        decode=decode,
    )
    holder = holder or _memory(config.serving, device, clock, bell, watch)
    share = holder.share(sources)
    try:
        engine = Engine(
            Model(share, exact(gate.gate), conditioning, shape, device, tuple(others)),
            clock,
            bell,
            num_slots=config.serving.slots,
            most_rows=config.serving.batch_rows,
            most_steps=config.serving.experts_steps,
            thrift=menu.thrift,
            watch=watch,
        )
    except Exception:  # there may be no memory for its slots
        share.close()
        raise
    return Edition(menu, engine, holder, share)


def newest(store: BlobStore, config: Config) -> str:
    """Name of the edition that :func:`load_edition` would load. Raises: StageMissing, BlobError."""
    return name_of(_digests(trained_run(store, config, needed_by="serve")))


def _digests(trained: TrainedRun) -> dict[str, str]:
    return {job: ref.digest for job, ref in trained.checkpoints.items()}


def _memory(
    limits: ServingSection, device: torch.device, clock: Clock, bell: threading.Event, watch: Watch
) -> Residency:
    """Within its budgets; the processor's own memory is one tier, not two."""
    kept_bytes = 0.0 if device.type == "cpu" else limits.host_memory_gb * 1e9 or math.inf
    host = HostMemory(kept_bytes, device)
    return Residency(limits.memory_gb * 1e9 or math.inf, host, bell, clock, watch)


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
