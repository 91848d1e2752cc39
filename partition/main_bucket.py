"""A partition's images of the first bucket alone, for what takes images of one size."""

from __future__ import annotations

from dataclasses import replace

from partition.manifest import Partition, Shard


def main_bucket(partition: Partition) -> Partition:
    """A partition without what is of other buckets, to read from; itself where there are none.

    Clusters may be empty there. What it tells of classes and digests is that of the whole.
    """
    if not partition.buckets:
        return partition
    sets = [replace(each, shards=_first(each.shards)) for each in partition.shard_sets]
    sets = [replace(each, num_samples=_num(each.shards)) for each in sets]
    latents, texts, features = partition.latents, partition.texts, partition.features
    return replace(
        partition,
        num_samples=sum(each.num_samples for each in sets),
        shard_sets=tuple(sets),
        latents=latents and replace(latents, shards=tuple(map(_first, latents.shards))),
        texts=texts and replace(texts, shards=tuple(map(_first, texts.shards))),
        features=replace(features, shards=tuple(map(_first, features.shards))),
        buckets=(),
    )


def _first(shards: tuple[Shard, ...]) -> tuple[Shard, ...]:
    return tuple(shard for shard in shards if shard.bucket == 0)


def _num(shards: tuple[Shard, ...]) -> int:
    return sum(shard.num_samples for shard in shards)
