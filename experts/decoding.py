"""From what networks work on to images for people."""

from __future__ import annotations

import functools
import importlib.util
import threading
import weakref
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


_shared = weakref.WeakValueDictionary[tuple[str, torch.device], Autoencoder]()
_guard = threading.Lock()  # of them


def decode_pixels(x: Tensor) -> NDArray[np.uint8]:
    """Images of what networks paint that see pixels; a :data:`Decoder`."""
    return to_uint8(x.float().cpu().numpy())


@dataclass(frozen=True, slots=True, eq=False)
class LatentDecoder:
    """A :data:`Decoder` of latents; loads the autoencoder when it is first needed.

    Decoders of one model share it, for as long as there is any that has loaded it.

    Attributes:
        model: sha256 (hex) of the autoencoder's files.
        find: gives the folder of them.
        scale: networks see ``(latent - shift) * scale``.
        shift: see above.
        device: for the autoencoder.
        keeps: whether the autoencoder stays once it is loaded; else it goes after each call, as of
            a trainer, which needs the memory for hundreds of steps before it shows the next grid.
    """

    model: str
    find: Callable[[], Path]
    scale: float
    shift: float
    device: torch.device
    keeps: bool = True
    _loaded: list[Autoencoder] = field(init=False, default_factory=list)

    def __call__(self, x: Tensor) -> NDArray[np.uint8]:
        """See :data:`Decoder`. Raises: as :meth:`open`."""
        latents = x.float() / self.scale + self.shift
        if self.keeps:
            self.open()
            return self._loaded[0].decode(latents)
        return self._shared_one().decode(latents)

    def open(self) -> None:
        """Load the autoencoder, unless it is.

        Raises:
            BadInput: it cannot be loaded.
            BlobMissing: the run does not keep it.
            BlobDamaged: a file of it is not what was kept.
        """
        if not self._loaded:
            self._loaded.append(self._shared_one())

    def _shared_one(self) -> Autoencoder:
        with _guard:
            key = self.model, self.device
            shared = _shared.get(key) or Autoencoder(self.find(), self.device)
            _shared[key] = shared
            return shared


def decoder_of(
    store: BlobStore,
    partition: Partition,
    cache: Path,
    device: torch.device,
    *,
    keeps: bool = True,
) -> Decoder:
    """What makes images of what the networks of a run paint.

    Args:
        store: of the run.
        partition: whose samples they learn from.
        cache: folder for copies from a store that is not on this machine.
        device: for an autoencoder.
        keeps: see :class:`LatentDecoder`.

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
    return LatentDecoder(latents.model, find, latents.scale, latents.shift, device, keeps)
