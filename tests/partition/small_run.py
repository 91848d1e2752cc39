"""A small run to partition: ninety images of three classes, in an ``.npz``."""

from pathlib import Path
from typing import Any

import numpy as np

from atoll.config import Config
from partition.manifest import Partition
from partition.stage import run_partition

NAMES = np.array(["round", "square", "star"])


def write_data(path: Path, num: int = 90, seed: int = 0) -> np.ndarray:
    generator = np.random.default_rng(seed)
    labels = np.arange(num) % 3
    noise = generator.integers(0, 60, (num, 6, 5, 3))
    images = (noise + 60 * labels[:, None, None, None]).astype(np.uint8)
    captions = np.array([f"number {i}" for i in range(num)])
    np.savez(path, images=images, labels=labels, captions=captions, classes=NAMES)
    return images


def settings(tmp_path: Path, run: str = "run", **partition: Any) -> Config:
    return Config.model_validate(
        {
            "run": {"uri": str(tmp_path / run)},
            "data": {"source": "npz", "path": str(tmp_path / "data.npz"), "captions": "captions"},
            "partition": {"num_experts": 3, "num_fine": 9, "samples_per_shard": 20, **partition},
            "expert": {"patch": 1, "condition": "none"},
            "router": {"patch": 1},
        }
    )


def run(config: Config) -> Partition:
    return run_partition(config, lambda *_: None)
