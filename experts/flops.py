"""What a network costs, in floating-point operations: the kernel's count, which needs no torch."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

from atoll.flops import TRAINING, Shape, block_flops, dit_flops, linear_flops, vector_flops
from atoll.networks import expert_flops
from partition.manifest import Partition

__all__ = [
    "TRAINING",
    "block_flops",
    "dit_flops",
    "expert_flops",
    "linear_flops",
    "mean_flops",
    "samples_seen",
    "vector_flops",
]


def samples_seen(partition: Partition, clusters: Iterable[int]) -> dict[Shape, int]:
    """How many samples of each shape, as networks see them, some clusters have."""
    shapes = partition.shapes
    seen = dict.fromkeys(shapes, 0)
    for cluster in clusters:
        shard_set = partition.shard_sets[cluster]
        if not partition.buckets:
            seen[shapes[0]] += shard_set.num_samples
            continue
        for shard in shard_set.shards:
            seen[shapes[shard.bucket]] += shard.num_samples
    return seen


def mean_flops(flops: Callable[[Shape], int], seen: Mapping[Shape, int]) -> int:
    """The mean over samples of several shapes of what one costs, exact where there is one shape.

    Args:
        flops: of a sample, by its shape.
        seen: see :func:`samples_seen`.
    """
    total = sum(flops(shape) * num for shape, num in seen.items())
    return total // sum(seen.values())
