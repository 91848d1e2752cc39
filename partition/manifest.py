"""What the partition stage leaves behind, and all later stages read."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from atoll.blobs import Blob


@dataclass(frozen=True, slots=True)
class Shard:
    """One WebDataset tar: its key below the run, sha256 (hex), number of samples, and size."""

    key: str
    digest: str
    num_samples: int
    size_bytes: int

    @property
    def blob(self) -> Blob:
        """The tar as the store knows it."""
        return Blob(self.key, self.digest, self.size_bytes)


@dataclass(frozen=True, slots=True)
class Skipped:
    """A sample that was left out because it cannot be read: its name, and why."""

    name: str
    reason: str


@dataclass(frozen=True, slots=True)
class DuplicateList:
    """Samples that were found to be nearly the same as others.

    Attributes:
        num: how many.
        dropped: whether they were left out of the shards.
        key: of a file that names them, see :mod:`partition.duplicate_list`.
        digest: sha256 (hex) of that file.
    """

    num: int
    dropped: bool
    key: str
    digest: str


@dataclass(frozen=True, slots=True)
class ShardSet:
    """The tars of one cluster.

    Attributes:
        cluster: which, from 0.
        num_samples: in all its shards.
        label_counts: samples of each class; empty for data without labels.
        shards: in reading order.
    """

    cluster: int
    num_samples: int
    label_counts: tuple[int, ...]
    shards: tuple[Shard, ...]


@dataclass(frozen=True, slots=True)
class Partition:
    """K centroids and the assignment of every sample to one of them.

    Attributes:
        digest: identifies centroids and assignment; part of every checkpoint's compat. Equal for
            equal data, settings, and number of threads, which sums in floating point depend on.
        num_samples: in all clusters.
        shape: height, width, channels of every image, uint8.
        class_names: empty for data without labels.
        has_captions: whether samples carry captions.
        skipped: what was left out because it could not be read.
        centroids: key of an .npz with ``coarse`` (K, F), ``fine`` (num_fine, F),
            ``cluster_of_fine`` (num_fine,), ``offsets`` (K,), ``scatter`` (), and the feature
            extractor's parameters; :class:`partition.centroids.CentroidModel` reads it.
        centroids_digest: sha256 (hex) of that file.
        shard_sets: one for each cluster.
        duplicates: what was found of them; None where nobody looked.
    """

    digest: str
    num_samples: int
    shape: tuple[int, int, int]
    class_names: tuple[str, ...]
    has_captions: bool
    skipped: tuple[Skipped, ...]
    centroids: str
    centroids_digest: str
    shard_sets: tuple[ShardSet, ...]
    duplicates: DuplicateList | None = None

    @property
    def num_experts(self) -> int:
        """K."""
        return len(self.shard_sets)

    def as_json(self) -> dict[str, Any]:
        """For a stage manifest; :meth:`from_json` reads it back."""
        return asdict(self)

    @classmethod
    def from_json(cls, tree: dict[str, Any]) -> Partition:
        """Read what :meth:`as_json` wrote."""
        shard_sets = tuple(
            ShardSet(
                cluster=item["cluster"],
                num_samples=item["num_samples"],
                label_counts=tuple(item["label_counts"]),
                shards=tuple(Shard(**shard) for shard in item["shards"]),
            )
            for item in tree["shard_sets"]
        )
        height, width, channels = tree["shape"]
        return cls(
            digest=tree["digest"],
            num_samples=tree["num_samples"],
            shape=(height, width, channels),
            class_names=tuple(tree["class_names"]),
            has_captions=tree["has_captions"],
            skipped=tuple(Skipped(**item) for item in tree["skipped"]),
            centroids=tree["centroids"],
            centroids_digest=tree["centroids_digest"],
            shard_sets=shard_sets,
            duplicates=DuplicateList(**tree["duplicates"]) if tree["duplicates"] else None,
        )
