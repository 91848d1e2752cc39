"""The network of an expert, of whichever kind its sizes are."""

from __future__ import annotations

from atoll.fit import refuse_patch
from atoll.sizes import MMDiTSizes, NetworkSizes
from experts.blocks import fresh
from experts.condition import Conditioning
from experts.dit import DiT, Shape
from experts.mmdit import MMDiT

ExpertNetwork = DiT | MMDiT


def network_of(sizes: NetworkSizes, conditioning: Conditioning, shape: Shape) -> ExpertNetwork:
    """A network with any weights, to be given others."""
    if isinstance(sizes, MMDiTSizes):
        return MMDiT(sizes, conditioning, shape)
    return DiT(sizes, conditioning, shape)


def build_network(
    sizes: NetworkSizes, conditioning: Conditioning, shape: Shape, seed: int
) -> ExpertNetwork:
    """A fresh network; equal seeds give equal weights, wherever it is moved afterwards.

    Args:
        sizes: how large, and of which kind.
        conditioning: what it is told besides image and time.
        shape: channels, height and width of the images.
        seed: of the initial weights; the global generator is left as it was.

    Raises:
        ConfigError: the patch does not divide the image.
    """
    refuse_patch(sizes.patch, *shape[1:])
    return fresh(lambda: network_of(sizes, conditioning, shape), seed)
