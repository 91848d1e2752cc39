"""An expert outside of any run, ready to be sampled from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from atoll.flops import Shape
from experts.condition import Conditioning
from experts.exchange.model import Model
from experts.flow import VelocityField
from experts.networks import network_from
from experts.objectives import objective_in

_SHOWN_CHANNELS = (1, 3)  # of what a PNG can show


@dataclass(frozen=True, slots=True, eq=False)
class Expert:
    """A velocity field, and what it is to be told.

    Attributes:
        field: of the linear flow, whatever the network itself tells.
        conditioning: what the field takes.
        shape: channels, height and width of its images.
        class_names: of its classes; () without any.
        latents: what it tells of the latents it paints, see :class:`atoll.expert_about.Latents`;
            None if it tells nothing.
    """

    field: VelocityField
    conditioning: Conditioning
    shape: Shape
    class_names: tuple[str, ...]
    latents: Mapping[str, Any] | None

    @property
    def paints_latents(self) -> bool:
        """Whether that is nothing to look at yet."""
        return paints_latents(self.latents, self.shape)


def expert_of(model: Model) -> Expert:
    """The expert that a model is; its weights stay where they are."""
    network, about = network_from(model.about, model.weights), model.about
    device = next(network.parameters()).device
    return Expert(
        field=objective_in(about).field(network, device),
        conditioning=network.conditioning,
        shape=network.shape,
        class_names=tuple(about["class_names"]),
        latents=about.get("latents"),
    )


def paints_latents(latents: Mapping[str, Any] | None, shape: Sequence[int]) -> bool:
    """Whether a network paints latents: its file says so, or no image has so many channels."""
    return latents is not None or shape[0] not in _SHOWN_CHANNELS
