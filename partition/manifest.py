"""What the partition stage leaves behind, and all later stages read."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Literal, NamedTuple

from atoll.blobs import Blob

PIXELS = "pixels"  # the space of networks that see images as they are


@dataclass(frozen=True, slots=True)
class Shard:
    """One file of samples, mostly a WebDataset tar.

    Attributes:
        key: below the run.
        digest: sha256 (hex).
        num_samples: in it.
        size_bytes: of it.
        bucket: which of :attr:`Partition.buckets` all its images are of.
    """

    key: str
    digest: str
    num_samples: int
    size_bytes: int
    bucket: int = 0

    @property
    def blob(self) -> Blob:
        """The tar as the store knows it."""
        return Blob(self.key, self.digest, self.size_bytes)


@dataclass(frozen=True, slots=True)
class Listing:
    """Samples that a file of the run names, see :mod:`partition.listing`.

    Attributes:
        num: how many.
        key: of the file.
        digest: sha256 (hex) of it.
    """

    num: int
    key: str
    digest: str


@dataclass(frozen=True, slots=True)
class DuplicateList(Listing):
    """Samples that were found to be nearly the same as others.

    Attributes:
        dropped: whether they were left out of the shards.
    """

    dropped: bool


@dataclass(frozen=True, slots=True)
class ShardSet:
    """The tars of one cluster.

    Attributes:
        cluster: which, from 0.
        num_samples: in all its shards.
        label_counts: samples of each class; empty for data without labels.
        shards: in reading order, bucket by bucket.
    """

    cluster: int
    num_samples: int
    label_counts: tuple[int, ...]
    shards: tuple[Shard, ...]


class Space(NamedTuple):
    """What the networks work on.

    Attributes:
        name: ``pixels``, or what tells these latents from others; in every checkpoint's compat.
        shape: channels, height, width.
    """

    name: str
    shape: tuple[int, int, int]


@dataclass(frozen=True, slots=True)
class Latents:
    """What an autoencoder made of the images.

    Networks see ``(latent - shift) * scale``.

    Attributes:
        model: sha256 (hex) of the autoencoder's files, which :mod:`partition.model_files` keeps.
        kind: ``moments``, the mean and the logarithm of the variance, of which a latent is drawn
            whenever a sample is read; or ``samples``, drawn once.
        shape: channels, height, width of a latent.
        scale: see above.
        shift: see above.
        mirrored: whether there are two of each image, as it is and as in a mirror.
        std: of all values of all latents, as networks see them.
        shards: of each cluster, one beside each tar of its images, with its samples in its order.
    """

    model: str
    kind: Literal["moments", "samples"]
    shape: tuple[int, int, int]
    scale: float
    shift: float
    mirrored: bool
    std: float
    shards: tuple[tuple[Shard, ...], ...]

    @classmethod
    def from_json(cls, tree: dict[str, Any]) -> Latents:
        """Read what ``dataclasses.asdict`` wrote."""
        channels, height, width = tree["shape"]
        shards = _shards_from(tree["shards"])
        return cls(**tree | {"shape": (channels, height, width), "shards": shards})

    @property
    def space(self) -> Space:
        """Where the networks work."""
        name = f"latents:{self.model[:16]}:{float(self.scale)!r}:{float(self.shift)!r}"
        return Space(name, self.shape)


@dataclass(frozen=True, slots=True)
class Texts:
    """What a text encoder made of the captions.

    Attributes:
        encoder: its name in every checkpoint's compat, which its files follow from.
        model: sha256 (hex) of its files, which :mod:`partition.model_files` keeps.
        tokens: most of a caption; 0 for one vector of the whole.
        dims: length of a vector.
        num_cut: captions that are longer than the model, or the run, looks at.
        shards: of each cluster, one beside each tar of its images, with its samples in its order.
    """

    encoder: str
    model: str
    tokens: int
    dims: int
    num_cut: int
    shards: tuple[tuple[Shard, ...], ...]

    @classmethod
    def from_json(cls, tree: dict[str, Any]) -> Texts:
        """Read what ``dataclasses.asdict`` wrote."""
        return cls(**tree | {"shards": _shards_from(tree["shards"])})


@dataclass(frozen=True, slots=True)
class KeptFeatures:
    """What the samples were clustered by.

    Attributes:
        dims: length of a vector.
        shards: of each cluster, a file beside each tar of its images, with its samples in its
            order, see :mod:`partition.feature_shards`.
    """

    dims: int
    shards: tuple[tuple[Shard, ...], ...]


@dataclass(frozen=True, slots=True)
class Partition:
    """K centroids and the assignment of every sample to one of them.

    Attributes:
        digest: identifies centroids and assignment; part of every checkpoint's compat. Equal for
            equal data, settings, and number of threads, which sums in floating point depend on.
        num_samples: in all clusters.
        shape: height, width, channels of every image, uint8; of those of the first bucket, where
            there are several.
        class_names: empty for data without labels.
        has_captions: whether samples carry captions.
        skipped: ``name`` and ``reason`` of what was left out; None where nothing was.
        centroids: key of an .npz with ``coarse`` (K, F), ``fine`` (num_fine, F),
            ``cluster_of_fine`` (num_fine,), ``offsets`` (K,), ``scatter`` (), and the feature
            extractor's parameters; :class:`partition.centroids.CentroidModel` reads it.
        centroids_digest: sha256 (hex) of that file.
        shard_sets: one for each cluster.
        features: what the samples were clustered by.
        latents: what networks see of the images; None where they see pixels.
        texts: what networks see of the captions; None where they are encoded when they are read.
        std: of all values of all images, see :mod:`partition.spread`, those of other buckets
            brought to the first one's size; 0 where nothing measured it.
        duplicates: what was found of them; None where nobody looked.
        num_without_caption: samples that were read and have none.
        caption_words: captions by how many words they have: words, and how many captions.
        buckets: heights and widths that images have, in pixels; each tar is of one of them. Empty
            where all images are of one size.
    """

    digest: str
    num_samples: int
    shape: tuple[int, int, int]
    class_names: tuple[str, ...]
    has_captions: bool
    skipped: Listing | None
    centroids: str
    centroids_digest: str
    shard_sets: tuple[ShardSet, ...]
    features: KeptFeatures = KeptFeatures(0, ())
    latents: Latents | None = None
    texts: Texts | None = None
    std: float = 0.0
    duplicates: DuplicateList | None = None
    num_without_caption: int = 0
    caption_words: tuple[tuple[int, int], ...] = ()
    buckets: tuple[tuple[int, int], ...] = ()

    @property
    def space(self) -> Space:
        """What the networks work on."""
        if self.latents is not None:
            return self.latents.space
        height, width, channels = self.shape
        return Space(PIXELS, (channels, height, width))

    @property
    def sizes(self) -> tuple[tuple[int, int], ...]:
        """Heights and widths that images have, in pixels: those of the buckets, or the only one."""
        return self.buckets or (self.shape[:2],)

    @property
    def shapes(self) -> tuple[tuple[int, int, int], ...]:
        """Channels, height, width of what networks see, for each bucket; the first is the space's.

        One where all images are of one size.
        """
        channels, factor = self.space.shape[0], self.factor
        return tuple((channels, rows // factor, columns // factor) for rows, columns in self.sizes)

    @property
    def factor(self) -> int:
        """Pixels along the side of a place that networks see: an autoencoder's; 1 for pixels."""
        return self.shape[0] // self.space.shape[1]

    @property
    def num_experts(self) -> int:
        """K."""
        return len(self.shard_sets)

    @property
    def classes_without_samples(self) -> tuple[str, ...]:
        """Classes that have a name and nothing else."""
        counts = [each.label_counts for each in self.shard_sets]
        return tuple(
            name for label, name in enumerate(self.class_names) if not any(c[label] for c in counts)
        )

    def as_json(self) -> dict[str, Any]:
        """For a stage manifest; :meth:`from_json` reads it back. What was encoded is not in it."""
        tree = asdict(self)
        del tree["latents"], tree["texts"]
        return tree

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
            skipped=Listing(**tree["skipped"]) if tree["skipped"] else None,
            centroids=tree["centroids"],
            centroids_digest=tree["centroids_digest"],
            shard_sets=shard_sets,
            features=KeptFeatures(
                tree["features"]["dims"],
                tuple(
                    tuple(Shard(**shard) for shard in shards)
                    for shards in tree["features"]["shards"]
                ),
            ),
            std=tree["std"],
            duplicates=DuplicateList(**tree["duplicates"]) if tree["duplicates"] else None,
            num_without_caption=tree["num_without_caption"],
            caption_words=tuple((words, num) for words, num in tree["caption_words"]),
            buckets=tuple((height, width) for height, width in tree["buckets"]),
        )


def _shards_from(clusters: list[list[dict[str, Any]]]) -> tuple[tuple[Shard, ...], ...]:
    return tuple(tuple(Shard(**shard) for shard in cluster) for cluster in clusters)
