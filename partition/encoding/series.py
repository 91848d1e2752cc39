"""What can be made of the samples of a partition: latents of the images, vectors of the captions.

A series is a plan, small enough to be sent to other processes; what it opens does the work there.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from atoll.blobs import BlobStore
from partition.manifest import Latents, Shard, Texts

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True, slots=True)
class Stored:
    """A sample as a tar of images holds it.

    Attributes:
        image: a PNG.
        about: JSON with ``key``, ``index``, ``label``, ``caption``.
    """

    image: bytes
    about: bytes

    @property
    def told(self) -> dict[str, Any]:
        """What :attr:`about` says."""
        told: dict[str, Any] = json.loads(self.about)
        return told

    @property
    def name(self) -> str:
        """Its name in a tar, but for the extension."""
        return f"{self.told['index']:09d}"


@dataclass(frozen=True, slots=True)
class Encoded:
    """What was made of some samples.

    Attributes:
        files: of each sample, contents by extension, in the order in which a tar holds them.
        sums: numbers that are added up over all samples, such as a sum of squares, by name.
    """

    files: Sequence[Mapping[str, bytes]]
    sums: Mapping[str, float]


class Encoder(Protocol):
    """Does the work of a series in one process."""

    def prepare(self, sample: Stored) -> Any:
        """What there is to do of a sample by itself, such as decoding a PNG; in any thread."""
        ...

    def encode(self, prepared: Sequence[Any]) -> Encoded:
        """The rest, for samples that follow each other: a function of them alone."""
        ...


class Series(Protocol):
    """A plan of what to make of every sample."""

    @property
    def name(self) -> str:
        """``latents`` or ``captions``: its section of the configuration, and its stage."""
        ...

    @property
    def model(self) -> str:
        """Digest of the encoder's files."""
        ...

    @property
    def digest(self) -> str:
        """sha256 (hex) of all that the tars follow from, besides the samples."""
        ...

    @property
    def batch_size(self) -> int:
        """Samples encoded together; a tar's last ones may be fewer."""
        ...

    @property
    def workers(self) -> int:
        """Processes that encode; 0 = one for each GPU, else for each core."""
        ...

    def open(self, store: BlobStore, cache: Path, device: torch.device) -> Encoder:
        """What does the work.

        Args:
            store: the run's, which keeps the model.
            cache: folder for copies from a store that is not on this machine.
            device: for the model.
        """
        ...

    def result(
        self, shards: tuple[tuple[Shard, ...], ...], sums: Mapping[str, float]
    ) -> Latents | Texts:
        """What later stages read.

        Args:
            shards: of each cluster, one beside each tar of its images.
            sums: over all samples, see :class:`Encoded`.
        """
        ...
