"""Whether the heads and tokens of an expert can be dealt out to ranks."""

from __future__ import annotations

from torch import nn

from atoll.errors import BadInput
from experts.converted import network_of
from experts.dit import DiT
from experts.flow import VelocityField
from experts.video import SpaceTimeDiT
from serving.expert.served import ServedExpert


def refuse_unshared(expert: ServedExpert, num: int) -> None:
    """Refuse a number of ranks that an expert's heads and tokens cannot be dealt out to.

    Raises:
        BadInput: names the key.
    """
    network = module_of(expert.field)
    heads, patch = int(network.sizes.heads), int(network.sizes.patch)  # type: ignore[union-attr, arg-type]
    tokens = [height * width // patch**2 for _, height, width in expert.shapes]
    for what, of in (("heads", [heads]), ("tokens of an image", tokens)):
        if odd := [each for each in of if each % num]:
            raise BadInput(
                f"expert_server.ranks = {num} does not divide the {odd[0]} {what} of expert "
                f"{expert.number}; choose one that does"
            )
    frames = network.sizes.frames if isinstance(network, SpaceTimeDiT) else num
    places = [each // frames for each in tokens] if isinstance(network, SpaceTimeDiT) else []
    if frames % num or any(each % num for each in places):
        raise BadInput(
            f"expert_server.ranks = {num} does not divide both the {frames} frames of a video and "
            f"the tokens of one, of expert {expert.number}; choose one that does"
        )
    if len(expert.shapes) > 1 and not isinstance(network, DiT):
        raise BadInput(
            f"expert_server.ranks = {num} shares out images of one size alone by an MMDiT, and "
            f"this run's are of {len(expert.shapes)}; set it to 1"
        )


def refuse_undisplaced(expert: ServedExpert) -> None:
    """Refuse to displace a network whose attention is not of an image's tokens alone.

    Raises:
        BadInput: names the key.
    """
    network = module_of(expert.field)
    if not isinstance(network, DiT) or isinstance(network, SpaceTimeDiT):
        raise BadInput(
            f"expert_server.displaced = true is for DiTs of images, and expert {expert.number} is "
            "none; set it to false"
        )


def module_of(field: VelocityField) -> nn.Module:
    """The network behind a field."""
    network = network_of(field)
    assert isinstance(network, nn.Module)
    return network
