"""Sizes of images that an ensemble can be asked for.

Networks are told heights and widths, of images or of latents.
"""

from __future__ import annotations

from atoll.errors import BadInput
from atoll.flops import Shape
from atoll.image_size import Size, size_name
from partition.manifest import Partition


def sizes_of(partition: Partition) -> dict[Size, Shape]:
    """Sizes of a run's images, the main one first, each with the shape that networks see.

    Others are those that some sample has: nobody learned what no image is of.
    """
    learned = {0} | {shard.bucket for owner in partition.shard_sets for shard in owner.shards}
    sides = enumerate(zip(partition.sizes, partition.shapes, strict=True))
    return {
        (width, height): shape for bucket, ((height, width), shape) in sides if bucket in learned
    }


def drawn_by(partition: Partition, gate: str) -> dict[Size, Shape]:
    """Likewise, of those that an ensemble with a gate of some name can draw."""
    sizes = sizes_of(partition)
    if gate != "centroid":
        return sizes
    main, *_ = sizes  # it compares pixels
    return {main: sizes[main]}


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
        known = ", ".join(map(size_name, sizes))
        raise BadInput(f"no image of this run is {size_name(size)}; they are {known}")
    if size == main:
        return None
    if size not in drawn_by(partition, gate):
        raise BadInput(
            f'sampling.gate = "centroid" compares pixels of images of {size_name(main)} alone; use '
            f"the learned gate for {size_name(size)}"
        )
    return sizes[size]
