"""What a data source gives."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class Sample:
    """One image and what is known of it.

    Attributes:
        key: unique within the source; names the sample for people.
        image: (H, W, 1 or 3), uint8.
        label: class number, from 0; None without classes.
        caption: None without captions.
    """

    key: str
    image: NDArray[np.uint8]
    label: int | None = None
    caption: str | None = None


@dataclass(frozen=True, slots=True)
class Unreadable:
    """Something in the place of a sample that is none.

    Attributes:
        name: the file, or the member of an archive.
        reason: why, as the end of a sentence that begins with the name.
    """

    name: str
    reason: str


class Pending(ABC):
    """A sample that is not decoded yet; small enough to be sent to another process for that."""

    @abstractmethod
    def read(self) -> Sample | Unreadable:
        """Read and decode it, in whatever process."""


class Source(Protocol):
    """A data set as a stream: in the same order every time, one sample in memory at a time."""

    @property
    def class_names(self) -> tuple[str, ...]:
        """Names by class number; empty where the source does not name its classes."""
        ...

    def __iter__(self) -> Iterator[Sample | Unreadable | Pending]:
        """Begin the stream anew.

        Raises:
            DataError: what was given already turns out not to be what is stored there.
        """
        ...
