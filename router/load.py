"""A run's ensemble, out of what its stages left behind."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors.torch import load_file

from atoll import checkpoints, layout, stages
from atoll.averaged import as_sampled
from atoll.blobs import BlobStore
from atoll.checkpoints import CheckpointFolder
from atoll.config import Config
from atoll.encoded import refuse_other_names
from atoll.errors import CheckpointMismatch
from atoll.flops import Shape
from atoll.image_size import Size
from atoll.sizes import NetworkSizes, Sizes, sizes_from
from atoll.types import CheckpointRef
from experts.condition import Conditioning
from experts.decoding import Decoder, decoder_of
from experts.files import EMA
from experts.flow import VelocityField
from experts.load import load_expert
from experts.prompting import prompt_encoder
from partition.centroids import load_centroids
from partition.manifest import Partition
from partition.stage import load_partition
from partition.text import TextEncoder
from router.centroid import centroid_gate
from router.ensemble import Ensemble
from router.gate import Gate, LearnedGate, prior_gate, uniform_gate
from router.network import RouterNet
from router.sampling import Sampler
from router.selection import parse_strategy
from router.sizes import shape_at


@dataclass(frozen=True, slots=True, eq=False)
class LoadedEnsemble:
    """Experts and gate of one run, ready to be sampled from.

    Attributes:
        experts: K, with averaged weights, in evaluation mode.
        sizes: of each one's network.
        gate: knows them apart.
        router: the network behind the gate; None where there is none.
        conditioning: what the experts are to be told.
        shape: channels, height and width of what they paint unless another is wanted.
        decode: makes images of that.
        partition: whose clusters the experts learned.
        load_encoder: gives what encodes prompts, see :func:`experts.prompting.prompt_encoder`.
        checkpoints: what was loaded, by name of the job.
        device: where the networks are.
    """

    experts: tuple[VelocityField, ...]
    sizes: NetworkSizes
    gate: Gate
    router: RouterNet | None
    conditioning: Conditioning
    shape: Shape
    decode: Decoder
    partition: Partition
    load_encoder: Callable[[], TextEncoder | None]
    checkpoints: dict[str, CheckpointRef]
    device: torch.device

    @property
    def class_names(self) -> tuple[str, ...]:
        """Of the data."""
        return self.partition.class_names

    def shape_at(self, size: Size, gate: str) -> Shape | None:
        """See :func:`router.sizes.shape_at`."""
        return shape_at(self.partition, size, gate)

    @property
    def digests(self) -> dict[str, str]:
        """Of the checkpoints, by name of the job."""
        return {job: ref.digest for job, ref in self.checkpoints.items()}

    def sampler(self, strategy: str) -> Sampler:
        """What draws images by a selection strategy such as ``top-2``.

        Raises:
            ConfigError: there is no such strategy.
        """
        ensemble = Ensemble(self.experts, self.gate, parse_strategy(strategy))
        return Sampler(ensemble, self.conditioning, self.shape, self.device, self.decode)


def load_ensemble(
    store: BlobStore, config: Config, cache: Path, device: torch.device, needed_by: str = "sample"
) -> LoadedEnsemble:
    """Every expert of a run, and the gate its configuration asks for.

    Args:
        store: where the run is.
        config: ``sampling.gate`` says which gate.
        cache: folder for copies from a store that is not on this machine.
        device: for the networks.
        needed_by: command to name where a stage is missing.

    Raises:
        StageMissing: experts, or the router where it is asked for, are not trained yet.
        CheckpointMismatch: the checkpoints do not belong together.
        CheckpointDamaged: a file is gone, or a byte of it is not what was written.
        ConfigError: the gate cannot work on this partition.
    """
    trained = trained_run(store, config, needed_by)
    experts = [load_expert(store, ref, cache, device) for ref in trained.experts]
    gate = load_gate(store, config, trained, cache, device)
    for each in [*(expert.checkpoint for expert in experts), *gate.checkpoint]:
        trained.refuse_unfit(experts[0].checkpoint, each)
    about, conditioning = experts[0].checkpoint.about, experts[0].conditioning
    channels, height, width = about["shape"]
    return LoadedEnsemble(
        experts=tuple(expert.model for expert in experts),
        sizes=sizes_from(about["sizes"]),
        gate=gate.gate,
        router=gate.router,
        conditioning=conditioning,
        shape=(channels, height, width),
        decode=decoder_of(store, trained.partition, cache, device),
        partition=trained.partition,
        load_encoder=functools.partial(
            prompt_encoder, store, trained.partition, conditioning, cache, device
        ),
        checkpoints=trained.checkpoints,
        device=device,
    )


@dataclass(frozen=True, slots=True, eq=False)
class TrainedRun:
    """What the stages of a run left behind.

    Attributes:
        partition: whose clusters the experts learned.
        checkpoints: the last of each job that an ensemble needs, by name of the job.
    """

    partition: Partition
    checkpoints: dict[str, CheckpointRef]

    @property
    def experts(self) -> tuple[CheckpointRef, ...]:
        """Those of the K experts."""
        jobs = map(layout.expert_job, range(self.partition.num_experts))
        return tuple(self.checkpoints[job] for job in jobs)

    def refuse_unfit(self, first: CheckpointFolder, other: CheckpointFolder) -> None:
        """Refuse a checkpoint that fits neither the first one nor the partition.

        Raises:
            CheckpointMismatch: says what differs.
        """
        checkpoints.require_equal(first, other)
        _require_partition(other, self.partition)


def trained_run(store: BlobStore, config: Config, needed_by: str) -> TrainedRun:
    """Which checkpoints make the ensemble of a run.

    Args:
        store: where the run is.
        config: ``sampling.gate`` says whether there is a router among them.
        needed_by: command to name where a stage is missing.

    Raises:
        StageMissing: experts, or the router where it is asked for, are not trained yet; or averages
            of ``sampling.ema_length`` are not made.
        BadInput: the configuration names an encoder that is not the run's, or has it tell prompts
            otherwise than captions.
    """
    partition = load_partition(store, needed_by)
    trained = stages.require(store, "train", needed_by)
    refuse_other_names(store, config, partition.digest)
    if config.expert.condition == "text":
        heard = {"dims": config.captions.dims, "tokens": config.captions.tokens}
        stages.refuse_other(store, "train", {"captions": heard})
    refs = {
        job: CheckpointRef(**trained[job])
        for job in map(layout.expert_job, range(partition.num_experts))
    }
    if config.sampling.gate == "learned":
        routed = stages.require(store, "route", needed_by)
        refs[layout.ROUTER_JOB] = CheckpointRef(**routed[layout.ROUTER_JOB])
    return TrainedRun(partition, as_sampled(store, config, refs, needed_by))


@dataclass(frozen=True, slots=True, eq=False)
class LoadedGate:
    """A gate, and the network behind it where there is one.

    Attributes:
        gate: p(k | x_t, t, c).
        router: the network; None where nothing was learned.
        checkpoint: where that came from; empty likewise.
    """

    gate: Gate
    router: RouterNet | None = None
    checkpoint: tuple[CheckpointFolder, ...] = ()


def load_gate(
    store: BlobStore, config: Config, trained: TrainedRun, cache: Path, device: torch.device
) -> LoadedGate:
    """The gate that ``sampling.gate`` asks for; arguments as of :func:`load_ensemble`.

    Raises:
        CheckpointDamaged: a file is gone, or a byte of it is not what was written.
        ConfigError: the gate cannot work on this partition.
    """
    name, partition = config.sampling.gate, trained.partition
    if name == "learned":
        ref = trained.checkpoints[layout.ROUTER_JOB]
        folder = checkpoints.download(store, ref, cache, made_by="route", names=(EMA,))
        router = build_loaded_router(folder, device)
        return LoadedGate(LearnedGate(router), router, (folder,))
    if name == "uniform":
        return LoadedGate(uniform_gate(partition.num_experts, device))
    prior = prior_gate(partition, device)
    if name == "prior":
        return LoadedGate(prior)
    return LoadedGate(centroid_gate(load_centroids(store, partition), prior, device))


def build_loaded_router(folder: CheckpointFolder, device: torch.device) -> RouterNet:
    """The network a router's checkpoint describes, with its averaged weights."""
    about = folder.about
    channels, height, width = about["shape"]
    with torch.device("meta"):
        network = RouterNet(
            Sizes(**about["sizes"]),
            Conditioning(**about["conditioning"]),
            (channels, height, width),
            about["num_experts"],
        )
    network.load_state_dict(load_file(folder.files[EMA], device=str(device)), assign=True)
    return network.eval().requires_grad_(False)


def _require_partition(folder: CheckpointFolder, partition: Partition) -> None:
    if folder.compat["partition"] != partition.digest:
        raise CheckpointMismatch(
            f"{folder.ref.key} was trained on another partition than this run's; train it again "
            "under a run.uri of its own"
        )
