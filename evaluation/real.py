"""The real images everything is held against."""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from atoll.blobs import BlobStore
from atoll.config import Config
from atoll.errors import BadInput
from atoll.image_size import name_of
from atoll.node_cache import open_cache
from evaluation.neighbours import NEAREST
from experts.condition import Conditioning
from experts.noising import noising_of
from experts.times import TimeDensity
from partition.main_bucket import main_bucket
from partition.manifest import Partition
from partition.reader import ShardReader

_LEAST = 2 * (NEAREST + 1)  # one half is held against the other
_MOST = 50_000  # images of a reference, as is usual
_MOST_BYTES = 1 << 30
SEEN_MOST = 2000  # that a gate is asked about


@dataclass(frozen=True, slots=True, eq=False)
class RealImages:
    """Real images in a random order, with all that is known of each.

    Attributes:
        images: (N, H, W, C), uint8.
        labels: (N,), int64; -1 for images without a label.
        clusters: (N,), int64.
        num_clusters: of the partition; of some there may be no image.
        cond: what each is conditioned on, N rows; None without a condition.
        digest: sha256 (hex) of the images, whatever their order.
        seen: some of the first :data:`SEEN_MOST` of them as networks see them, (B, C, H, W)
            float32; latents by their means.
    """

    images: NDArray[np.uint8]
    labels: NDArray[np.int64]
    clusters: NDArray[np.int64]
    num_clusters: int
    cond: Tensor | None
    digest: str
    seen: Callable[[slice], Tensor]

    def __len__(self) -> int:
        return len(self.images)


def read_real(
    config: Config, store: BlobStore, partition: Partition, conditioning: Conditioning
) -> RealImages:
    """All real images, or as many of them at random as a reference takes.

    Where images are of several buckets, those of the first: networks draw that size.

    Args:
        config: of the run; its seed chooses the order. Copies of shards go where islands have them.
        store: of the run.
        partition: of its data.
        conditioning: what the networks are told.

    Raises:
        BadInput: there are too few to measure anything by.
    """
    main = main_bucket(partition)
    if main.num_samples < _LEAST:
        size = (
            f" of {name_of(*partition.shape[:2])}, first of data.buckets"
            if partition.buckets
            else ""
        )
        raise BadInput(
            f"the data hold {main.num_samples} images{size}, and an evaluation needs at least "
            f"{_LEAST}; give more under data.path"
        )
    image_bytes = int(np.prod(partition.shape))
    num = min(main.num_samples, _MOST, max(_LEAST, _MOST_BYTES // image_bytes))
    cache = open_cache(config.cache, config.run.uri)
    clusters = [each.cluster for each in main.shard_sets if each.num_samples]
    reader = ShardReader(store, main, clusters, cache, config.run.seed, pixels=True, memory_bytes=0)
    batch = seen = reader.batch(0, num)
    if partition.latents is not None:
        encoded = ShardReader(store, main, clusters, cache, config.run.seed, memory_bytes=0)
        seen = encoded.batch(0, min(num, SEEN_MOST))  # the same samples, in the same order
    noising = noising_of(config, "evaluation", TimeDensity(), conditioning, partition.latents)
    hashes = sorted(hashlib.sha256(image.tobytes()).digest() for image in batch.images)
    return RealImages(
        images=batch.images,
        labels=batch.labels,
        clusters=batch.clusters,
        num_clusters=partition.num_experts,
        cond=noising.condition(batch),
        digest=hashlib.sha256(b"".join(hashes)).hexdigest(),
        seen=lambda part: noising.clean(dataclasses.replace(seen, images=seen.images[part])),
    )
