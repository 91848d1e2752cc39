"""The network of an expert, of whichever kind its sizes are."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from atoll.flops import Shape
from atoll.patches import refuse_patch
from atoll.routing import Routing
from atoll.sizes import MMDiTSizes, NetworkSizes, sizes_from
from experts.alignment import Aligner, without_aligner
from experts.blocks import fresh
from experts.condition import Conditioning
from experts.dialect import OURS, Dialect
from experts.dit import DiT
from experts.mmdit import MMDiT
from experts.video import SpaceTimeDiT

ExpertNetwork = DiT | MMDiT


def network_of(
    sizes: NetworkSizes, conditioning: Conditioning, shape: Shape, dialect: Dialect = OURS
) -> ExpertNetwork:
    """A network with any weights, to be given others; only a DiT may be of another dialect."""
    if isinstance(sizes, MMDiTSizes):
        return MMDiT(sizes, conditioning, shape)
    if sizes.frames > 1:
        return SpaceTimeDiT(sizes, conditioning, shape, dialect)
    return DiT(sizes, conditioning, shape, dialect)


def network_like(about: Mapping[str, Any]) -> ExpertNetwork:
    """The network that a checkpoint tells of, with any weights."""
    channels, height, width = about["shape"]
    return network_of(
        sizes_from(about["sizes"]),
        Conditioning(**about["conditioning"]),
        (channels, height, width),
        Dialect(**about.get("dialect", {})),
    )


def network_from(about: Mapping[str, Any], weights: Mapping[str, Tensor]) -> ExpertNetwork:
    """The network that a checkpoint tells of, around weights, wherever they are.

    Args:
        about: see :attr:`experts.task.Task.about`.
        weights: its state dict; the tensors themselves become the network's.

    Returns:
        It in evaluation mode, to be asked and not to be trained, without an aligner.
    """
    with torch.device("meta"):
        network = network_like(about)
    network.load_state_dict(without_aligner(weights), assign=True)
    return network.eval().requires_grad_(False)


def build_network(
    sizes: NetworkSizes,
    conditioning: Conditioning,
    shape: Shape,
    seed: int,
    dialect: Dialect = OURS,
    *,
    aligned: tuple[int, int] | None = None,
    routing: Routing | None = None,
) -> ExpertNetwork:
    """A fresh network; equal seeds give equal weights, wherever it is moved afterwards.

    Args:
        sizes: how large, and of which kind.
        conditioning: what it is told besides image and time.
        shape: channels, height and width of the images.
        seed: of the initial weights; the global generator is left as it was.
        dialect: of weights that it shall be given.
        aligned: dims of an aligner's answer, and the blocks before it; None for no aligner.
        routing: of tokens, in training; for a DiT on images. None for no routing.

    Raises:
        ConfigError: the patch does not divide the image.
    """
    refuse_patch(sizes.patch, *shape[1:])
    network = fresh(lambda: network_of(sizes, conditioning, shape, dialect), seed)
    if aligned is not None:  # afterwards: the other weights are those of a network without one
        network.aligner = fresh(lambda: Aligner(sizes.width, *aligned), seed)
    if routing is not None:
        assert isinstance(network, DiT)
        network.routing = routing
    return network
