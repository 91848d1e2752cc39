"""What an autoencoder makes of an image, as far as a plan can know."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

from atoll.latents_section import LatentsSection

_USUAL = (4, 8)  # stabilityai/sd-vae-ft-mse, and most others of its time


@dataclass(frozen=True, slots=True)
class Places:
    """What networks see in place of pixels.

    Attributes:
        channels: of a latent.
        factor: pixels along the side of one of its places.
        sample_bytes: of one that is stored, for each place and channel.
        assumed: a sentence.
    """

    channels: int
    factor: int
    sample_bytes: int
    assumed: str


def places_of(section: LatentsSection) -> Places | None:
    """Told by the ``config.json`` of a folder that is here; as is usual for one that is not.

    Returns:
        None where networks see pixels.
    """
    if section.vae is None:
        return None
    sample_bytes = 4 if section.kind == "moments" else 2
    try:
        told = json.loads((Path(section.vae).expanduser() / "config.json").read_bytes())
        widths = told.get("block_out_channels") or told["encoder_block_out_channels"]
        channels, factor = int(told["latent_channels"]), 2 ** (len(widths) - 1)
        known = f"latents.vae, whose {channels} channels have places of {factor} x {factor} pixels"
    except (OSError, ValueError, TypeError, LookupError):
        channels, factor = _USUAL
        known = (
            f"latents.vae is not here: {channels} channels, places of {factor} x {factor} pixels"
        )
    return Places(channels, factor, sample_bytes, known)
