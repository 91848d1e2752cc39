"""A run's ensemble, out of what its stages left behind."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors.torch import load_file

from atoll import checkpoints, layout, stages
from atoll.blobs import BlobStore
from atoll.checkpoints import CheckpointFolder
from atoll.config import Config
from atoll.errors import CheckpointMismatch
from atoll.sizes import Sizes
from atoll.types import CheckpointRef
from experts.condition import Conditioning
from experts.dit import DiT, Shape
from experts.files import EMA
from experts.load import load_expert
from partition.centroids import load_centroids
from partition.manifest import Partition
from partition.stage import load_partition
from router.centroid import centroid_gate
from router.ensemble import Ensemble
from router.gate import Gate, LearnedGate, prior_gate, uniform_gate
from router.network import RouterNet
from router.sampling import Sampler
from router.selection import parse_strategy


@dataclass(frozen=True, slots=True, eq=False)
class LoadedEnsemble:
    """Experts and gate of one run, ready to be sampled from.

    Attributes:
        experts: K networks with averaged weights, in evaluation mode.
        gate: knows them apart.
        router: the network behind the gate; None where there is none.
        conditioning: what the experts are to be told.
        shape: channels, height and width of the images.
        partition: whose clusters the experts learned.
        checkpoints: what was loaded, by name of the job.
        device: where the networks are.
    """

    experts: tuple[DiT, ...]
    gate: Gate
    router: RouterNet | None
    conditioning: Conditioning
    shape: Shape
    partition: Partition
    checkpoints: dict[str, CheckpointRef]
    device: torch.device

    def sampler(self, strategy: str) -> Sampler:
        """What draws images by a selection strategy such as ``top-2``.

        Raises:
            ConfigError: there is no such strategy.
        """
        ensemble = Ensemble(self.experts, self.gate, parse_strategy(strategy))
        return Sampler(ensemble, self.conditioning, self.shape, self.device)


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
    partition = load_partition(store, needed_by)
    trained = stages.require(store, "train", needed_by)
    refs = {
        job: CheckpointRef(**trained[job])
        for job in map(layout.expert_job, range(partition.num_experts))
    }
    experts = [load_expert(store, ref, cache, device) for ref in refs.values()]
    folders = [expert.checkpoint for expert in experts]
    router: RouterNet | None = None
    if config.sampling.gate == "learned":
        routed = stages.require(store, "route", needed_by)
        refs[layout.ROUTER_JOB] = CheckpointRef(**routed[layout.ROUTER_JOB])
        folder = checkpoints.download(store, refs[layout.ROUTER_JOB], cache, made_by="route")
        router = build_loaded_router(folder, device)
        folders.append(folder)
    for folder in folders:
        checkpoints.require_equal(folders[0], folder)
    _require_partition(folders[0], partition)
    return LoadedEnsemble(
        experts=tuple(expert.model for expert in experts),
        gate=_gate(config.sampling.gate, router, store, partition, device),
        router=router,
        conditioning=experts[0].conditioning,
        shape=experts[0].model.shape,
        partition=partition,
        checkpoints=refs,
        device=device,
    )


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


def _gate(
    name: str,
    router: RouterNet | None,
    store: BlobStore,
    partition: Partition,
    device: torch.device,
) -> Gate:
    if router is not None:
        return LearnedGate(router)
    if name == "uniform":
        return uniform_gate(partition.num_experts, device)
    prior = prior_gate(partition, device)
    if name == "prior":
        return prior
    return centroid_gate(load_centroids(store, partition), prior, device)


def _require_partition(folder: CheckpointFolder, partition: Partition) -> None:
    if folder.compat["partition"] != partition.digest:
        raise CheckpointMismatch(
            f"{folder.ref.key} was trained on another partition than this run's; train it again "
            "under a run.uri of its own"
        )
