"""Sizes of images that an ensemble can be asked for, as people write them: WIDTHxHEIGHT in pixels.

Networks are told heights and widths, of images or of latents.
"""

from __future__ import annotations

import re

from atoll.errors import BadInput
from experts.dit import Shape
from partition.manifest import Partition

Size = tuple[int, int]  # width and height of an image, pixels

_NAME = re.compile(r"([1-9]\d{0,5})x([1-9]\d{0,5})")


def size_in(text: str) -> Size:
    """The size that somebody writes.

    Raises:
        BadInput: it is none.
    """
    match = _NAME.fullmatch(text)
    if match is None:
        raise BadInput(f"{text!r} is no size; give WIDTHxHEIGHT in pixels, such as 64x48")
    return int(match[1]), int(match[2])


def name_of(size: Size) -> str:
    """A size as people write it."""
    return "x".join(map(str, size))


def sizes_of(partition: Partition) -> dict[Size, Shape]:
    """Sizes of a run's images, the main one first, each with the shape that networks see."""
    sides = zip(partition.sizes, partition.shapes, strict=True)
    return {(width, height): shape for (height, width), shape in sides}


def shape_at(partition: Partition, size: Size, gate: str) -> Shape | None:
    """What networks see of images of a size; None for the main one, which they draw unasked.

    Args:
        partition: whose samples they learned.
        size: that is asked for.
        gate: name of the ensemble's.

    Raises:
        BadInput: the ensemble has not learned that size, or its gate does not know it.
    """
    sizes = sizes_of(partition)
    main, *_ = sizes
    if size not in sizes:
        raise BadInput(
            f"no image of this run is {name_of(size)}; they are {', '.join(map(name_of, sizes))}"
        )
    if size == main:
        return None
    if gate == "centroid":
        raise BadInput(
            f'sampling.gate = "centroid" compares pixels of images of {name_of(main)} alone; use '
            f"the learned gate for {name_of(size)}"
        )
    return sizes[size]
