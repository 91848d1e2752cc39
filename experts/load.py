"""An expert out of its checkpoint, ready to be sampled from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import Tensor

from atoll import checkpoints
from atoll.blobs import BlobStore
from atoll.checkpoints import CheckpointFolder
from atoll.types import CheckpointRef
from experts.condition import Conditioning
from experts.files import EMA
from experts.flow import VelocityField
from experts.networks import network_from
from experts.objectives import objective_in


@dataclass(frozen=True, slots=True)
class Loaded:
    """An expert or a monolith.

    Attributes:
        model: with averaged weights, in evaluation mode.
        conditioning: what it is to be told.
        checkpoint: where it came from, with ``compat`` and ``about``.
    """

    model: VelocityField
    conditioning: Conditioning
    checkpoint: CheckpointFolder


def load_expert(store: BlobStore, ref: CheckpointRef, cache: Path, device: torch.device) -> Loaded:
    """Build the network a checkpoint describes and give it the averaged weights.

    Args:
        store: where the run is.
        ref: which checkpoint; the weights are verified, and nothing else is read.
        cache: folder for copies from a store that is not on this machine.
        device: for the network.

    Raises:
        CheckpointDamaged: a file is gone, or a byte of it is not what was written.
    """
    folder = checkpoints.download(store, ref, cache, made_by="train", names=(EMA,))
    model = build_expert(folder, load_file(folder.files[EMA], device=str(device)))
    return Loaded(model, Conditioning(**folder.about["conditioning"]), folder)


def build_expert(described: CheckpointFolder, weights: Mapping[str, Tensor]) -> VelocityField:
    """The expert that a checkpoint describes, around its averaged weights, wherever they are."""
    network = network_from(described.about, weights)
    device = next(network.parameters()).device
    return objective_in(described.about).field(network, device)
