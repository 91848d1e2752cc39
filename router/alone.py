"""One expert outside of any run, as an ensemble of its own."""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch

from atoll.errors import BadInput
from atoll.expert_file import weights_file
from experts.condition import Conditioning
from experts.exchange.field import SHOWN_CHANNELS, Expert, expert_of
from experts.exchange.model import read_model
from experts.prompting import encoder_beside
from partition.text import TextEncoder
from router.ensemble import Ensemble
from router.gate import uniform_gate
from router.sampling import Sampler
from router.selection import parse_strategy

# Settings of a run that say what there is no choice of here; they stand in the recipes.
ALONE = ("sampling.strategy=full", "sampling.gate=uniform")


@dataclass(frozen=True, slots=True, eq=False)
class LoneExpert:
    """An expert that was imported or exported, ready to be sampled from.

    Attributes:
        expert: with its weights on the device.
        load_encoder: gives what encodes prompts, see :func:`experts.prompting.encoder_beside`.
        digests: that of its file, for recipes.
        device: where it computes.
    """

    expert: Expert
    load_encoder: Callable[[], TextEncoder | None]
    digests: dict[str, str]
    device: torch.device

    @property
    def conditioning(self) -> Conditioning:
        """What it is to be told."""
        return self.expert.conditioning

    @property
    def class_names(self) -> tuple[str, ...]:
        """Of its classes."""
        return self.expert.class_names

    def sampler(self, strategy: str) -> Sampler:
        """What draws images; there is but one expert to select."""
        expert, gate = self.expert, uniform_gate(1, self.device)
        ensemble = Ensemble((expert.field,), gate, parse_strategy(strategy))
        return Sampler(ensemble, expert.conditioning, expert.shape, self.device)


def load_alone(path: Path, device: torch.device) -> LoneExpert:
    """An expert from its folder or file.

    Raises:
        BadInput: there is none, or what it paints are no images yet.
    """
    expert = expert_of(read_model(path, str(device)))
    if expert.shape[0] not in SHOWN_CHANNELS:
        raise BadInput(
            f"{path} paints latents of {expert.shape[0]} channels, and `atoll sample` has no "
            "decoder for them; draw them in Python, as its card says"
        )
    with weights_file(path).open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    load_encoder = functools.partial(encoder_beside, path, expert.conditioning, device)
    return LoneExpert(expert, load_encoder, {"expert": digest}, device)
