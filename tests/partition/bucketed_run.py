"""A small partition whose images are of three sizes, for tests."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from atoll.blobs import BlobStore, open_store
from atoll.config import Config
from atoll.image_size import name_of
from atoll.node_cache import NodeCache
from partition.batch import Batch
from partition.manifest import Partition
from partition.reader import ShardReader
from partition.stage import load_partition, run_partition

BUCKETS = [(8, 8), (4, 12), (12, 4)]
NAMES = [name_of(*bucket) for bucket in BUCKETS]
# Height, width, and how many: first dark ones, which are a cluster, then bright ones, the other.
DARK = [(8, 8, 23), (4, 12, 9)]
BRIGHT = [(8, 8, 14), (12, 4, 1)]


@dataclass(frozen=True)
class BucketedRun:
    """47 images with captions that number them.

    Attributes:
        folder: of the run and its data.
        images: as they were given.
        keys: of the configuration, by section.
    """

    folder: Path
    images: list[np.ndarray]
    keys: dict[str, Any]

    @classmethod
    def written(cls, folder: Path, **keys: Any) -> BucketedRun:
        """Write the images; they are of the buckets' sizes already."""
        generator, images = np.random.default_rng(0), []
        (folder / "data").mkdir()
        for level, kinds in ((0, DARK), (180, BRIGHT)):
            for height, width, num in kinds:
                noise = generator.integers(0, 60, (num, height, width, 3))
                images += list((noise + level).astype(np.uint8))
        for number, image in enumerate(images):
            Image.fromarray(image).save(folder / "data" / f"{number:03d}.png")
            (folder / "data" / f"{number:03d}.txt").write_text(f"number {number}")
        return cls(folder, images, keys)

    @property
    def config(self) -> Config:
        """Of the run."""
        return Config.model_validate(self.tree)

    @property
    def tree(self) -> dict[str, Any]:
        """The configuration as a file has it."""
        tree: dict[str, Any] = {
            "run": {"uri": str(self.folder / "run")},
            "data": {
                "source": "folder",
                "path": str(self.folder / "data"),
                "buckets": NAMES,
                "workers": 0,
            },
            "partition": {
                "num_experts": 2,
                "num_fine": 4,
                "samples_per_shard": 5,
                "pca_dims": 6,
                "balance": 0.0,
            },
            "expert": {"width": 16, "depth": 1, "heads": 2, "patch": 2, "condition": "none"},
            "router": {"width": 16, "depth": 1, "heads": 2, "patch": 2},
            "evaluation": {"extractor": {"transformers": "none"}},
        }
        for section, more in self.keys.items():
            before = {} if "preset" in more else tree.get(section, {})
            tree[section] = before | more
        return tree

    @property
    def store(self) -> BlobStore:
        """Of the run."""
        return open_store(self.config.run.uri)

    @cached_property
    def made(self) -> Partition:
        """Of the images."""
        run_partition(self.config, lambda *_: None)
        return load_partition(self.store)

    @property
    def dark(self) -> int:
        """The cluster of the dark images, which are 32."""
        return [shard_set.num_samples for shard_set in self.made.shard_sets].index(32)

    def reader(self, clusters: list[int] | None = None, **more: Any) -> ShardReader:
        """Of some clusters."""
        cache, seed = NodeCache(self.folder / "cache"), more.pop("seed", 0)
        return ShardReader(self.store, self.made, clusters, cache, seed, **more)


def numbers(batch: Batch) -> list[int]:
    """Which images a batch holds, by their captions."""
    return [int(caption.split()[1]) for caption in batch.captions or ()]
