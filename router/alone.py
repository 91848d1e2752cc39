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
from atoll.flops import Shape
from atoll.image_size import Size, size_name
from atoll.latents_section import LatentsSection
from experts.condition import Conditioning
from experts.decoding import Decoder, LatentDecoder, decode_pixels
from experts.exchange.field import Expert, expert_of
from experts.exchange.model import read_model
from experts.prompting import encoder_beside
from partition.autoencoder import KEY as VAE
from partition.model_files import config_in, find_model
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
        decode: makes images of what it paints.
    """

    expert: Expert
    load_encoder: Callable[[], TextEncoder | None]
    digests: dict[str, str]
    device: torch.device
    decode: Decoder

    @property
    def conditioning(self) -> Conditioning:
        """What it is to be told."""
        return self.expert.conditioning

    @property
    def class_names(self) -> tuple[str, ...]:
        """Of its classes."""
        return self.expert.class_names

    def shape_at(self, size: Size, gate: str) -> Shape | None:  # noqa: ARG002 - as of a run's
        """Nothing tells which sizes it was trained on, besides its own.

        Raises:
            BadInput: always.
        """
        raise BadInput(
            f"an expert alone draws images of its own size, and --size is {size_name(size)}; leave "
            "it out"
        )

    def sampler(self, strategy: str) -> Sampler:
        """What draws images; there is but one expert to select."""
        expert, gate = self.expert, uniform_gate(1, self.device)
        ensemble = Ensemble((expert.field,), gate, parse_strategy(strategy))
        return Sampler(ensemble, expert.conditioning, expert.shape, self.device, self.decode)


def load_alone(path: Path, latents: LatentsSection, device: torch.device) -> LoneExpert:
    """An expert from its folder or file.

    Args:
        path: where it is.
        latents: names the autoencoder of one that paints latents.
        device: for the networks.

    Raises:
        BadInput: there is none, or what it paints cannot be decoded.
    """
    expert = expert_of(read_model(path, str(device)))
    with weights_file(path).open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    decode = _decoder(path, expert, latents, device) if expert.paints_latents else decode_pixels
    load_encoder = functools.partial(encoder_beside, path, expert.conditioning, device)
    return LoneExpert(expert, load_encoder, {"expert": digest}, device, decode)


def _decoder(
    path: Path, expert: Expert, section: LatentsSection, device: torch.device
) -> LatentDecoder:
    told = expert.latents or {}
    if section.vae is None:
        of = f"those of {told['vae']}" if told.get("vae") else "of which it does not tell"
        raise BadInput(
            f"{path} paints latents of {expert.shape[0]} channels; name the autoencoder that "
            f"decodes them, {of}: --set latents.vae=FOLDER_OR_ID"
        )
    model = find_model(section.vae, VAE, "latents")
    if told and model.digest != told["model"]:
        raise BadInput(
            f"{path} paints latents of another autoencoder, {told['vae']} ({told['model'][:16]}); "
            f"give {VAE} that one, not {section.vae} ({model.digest[:16]})"
        )
    about = config_in(model.folder, f"{VAE} = {section.vae!r}")
    if about.get("latent_channels", expert.shape[0]) != expert.shape[0]:
        raise BadInput(
            f"{path} paints latents of {expert.shape[0]} channels, and {VAE} = {section.vae!r} "
            f"takes {about['latent_channels']}; give another autoencoder"
        )
    own = {"scale": about.get("scaling_factor"), "shift": about.get("shift_factor")}
    scale = told.get("scale") or section.scale or own["scale"]
    shift = told.get("shift", own["shift"] if section.shift is None else section.shift) or 0.0
    if not isinstance(scale, float | int):
        raise BadInput(
            f"nothing tells the scale of the latents that {path} paints; give it as latents.scale"
        )
    return LatentDecoder(model.digest, lambda: model.folder, scale, shift, device)
