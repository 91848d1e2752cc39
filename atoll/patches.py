"""Whether images can be cut into the patches that a network takes."""

from __future__ import annotations

from atoll.errors import ConfigError
from atoll.image_size import name_of


def refuse_patch(
    patch: int,
    height: int,
    width: int,
    key: str = "patch",
    factor: int = 1,
    *,
    sides: str = "data.size",
) -> None:
    """Refuse images of so many pixels, or latents, that cannot be cut into whole patches.

    Args:
        patch: side of a patch, in pixels or in places of a latent.
        height: of what is cut, likewise.
        width: likewise.
        key: of the patch, for the error.
        factor: pixels along the side of a place.
        sides: what says how large images are, for the error.

    Raises:
        ConfigError: names the key, and what would fit.
    """
    if height % patch or width % patch:
        seen = f"images of {name_of(height, width)} pixels"
        if factor > 1:
            seen = f"latents of {name_of(height, width)}, {factor} pixels to a side of each place"
        raise ConfigError(
            f"{key} = {patch} does not divide {seen}; choose another patch, or set {sides} to a "
            f"multiple of {'it' if factor == 1 else patch * factor}"
        )
