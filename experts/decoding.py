"""From what networks work on to images for people."""

from __future__ import annotations

import functools
import importlib.util
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from atoll.blobs import BlobStore
from atoll.errors import BadInput
from partition.autoencoder import Autoencoder
from partition.manifest import Partition
from partition.model_files import fetch_model
from partition.pixels import to_uint8

# From what a flow arrived at, (B, C, h, w) as networks see samples, on any device, to images,
# (B, H, W, C) uint8. Any thread may call it, and several may at once.
Decoder = Callable[[Tensor], NDArray[np.uint8]]


def decode_pixels(x: Tensor) -> NDArray[np.uint8]:
    """Images of what networks paint that see pixels; a :data:`Decoder`."""
    return to_uint8(x.float().cpu().numpy())


@dataclass(frozen=True, slots=True, eq=False)
class LatentDecoder:
    """A :data:`Decoder` of latents; loads the autoencoder when it is first needed.

    Attributes:
        find: gives the folder of the autoencoder.
        scale: networks see ``(latent - shift) * scale``.
        shift: see above.
        device: for the autoencoder.
    """

    find: Callable[[], Path]
    scale: float
    shift: float
    device: torch.device
    _loaded: list[Autoencoder] = field(init=False, default_factory=list)
    _guard: threading.Lock = field(init=False, default_factory=threading.Lock)

    def __call__(self, x: Tensor) -> NDArray[np.uint8]:
        """See :data:`Decoder`."""
        with self._guard:
            if not self._loaded:
                self._loaded.append(Autoencoder(self.find(), self.device))
        return self._loaded[0].decode(x.float() / self.scale + self.shift)


def decoder_of(
    store: BlobStore, partition: Partition, cache: Path, device: torch.device
) -> Decoder:
    """What makes images of what the networks of a run paint.

    Args:
        store: of the run.
        partition: whose samples they learn from.
        cache: folder for copies from a store that is not on this machine.
        device: for an autoencoder.

    Raises:
        BadInput: it takes a library that is not installed.
    """
    if partition.latents is None:
        return decode_pixels
    if importlib.util.find_spec("diffusers") is None:
        raise BadInput(
            "this run's networks paint latents, and to decode them a library is needed that is not "
            "installed; run `pip install 'atoll[latents]'`"
        )
    latents = partition.latents
    find = functools.partial(fetch_model, store, latents.model, cache)
    return LatentDecoder(find, latents.scale, latents.shift, device)
