"""How fast shards on a disk are read in batches, beside plain webdataset on the same tars.

    OMP_NUM_THREADS=1 python benchmarks/reading.py [--samples 20000]

Both decode every sample anew in the process that asks, ours in an order that is uniform over the
cluster and can be gone on with anywhere, the baseline through its buffer of 5,000 samples. They
take turns, an epoch each. The first epoch of a reader with room to keep what it decoded, and those
after it, stand beside.
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import webdataset as wds
from locality import BATCH, BUFFER, partitioned

from atoll.blobs import open_store
from atoll.node_cache import NodeCache
from partition.manifest import Partition
from partition.reader import ShardReader


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--samples", type=int, default=20_000)
    parser.add_argument("--shards", type=int, default=4)
    parser.add_argument("--repeats", type=int, default=3)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        made = partitioned(f"{folder}/run", given.samples, given.shards)
        cache = NodeCache(Path(folder) / "cache")

        def reader(memory_bytes: int) -> ShardReader:
            store = open_store(f"{folder}/run")
            return ShardReader(store, made, [0], cache, 0, memory_bytes=memory_bytes)

        anew, keeping = reader(0), reader(1 << 40)
        took: dict[str, list[tuple[float, float]]] = {"atoll": [], "webdataset": [], "kept": []}
        for _ in range(given.repeats):  # in turns, so that all meet the same neighbours
            took["atoll"].append(timed(lambda: ours(anew)))
            took["webdataset"].append(timed(lambda: plain(folder, made)))
            took["kept"].append(timed(lambda: ours(keeping)))
    first_kept = took["kept"].pop(0)
    spent = {name: statistics.median(run[0] for run in runs) for name, runs in took.items()}
    wall = {name: statistics.median(run[1] for run in runs) for name, runs in took.items()}
    result = {
        "benchmark": "reading",
        "samples": given.samples,
        "megabytes": round(sum(s.size_bytes for s in made.shard_sets[0].shards) / 1e6, 1),
        "samples_per_processor_s": {name: round(given.samples / s) for name, s in spent.items()},
        "samples_per_s": {name: round(given.samples / s) for name, s in wall.items()},
        "ratio": round(spent["atoll"] / spent["webdataset"], 2),
        "first_kept_ratio": round(first_kept[0] / spent["webdataset"], 2),
        "kept_ratio": round(spent["kept"] / spent["webdataset"], 4),
        "repeats": given.repeats,
    }
    print(json.dumps(result))


def timed(epoch: Callable[[], int]) -> tuple[float, float]:
    """Processor time and wall-clock of an epoch, seconds."""
    begin, spent = time.perf_counter(), time.process_time()
    epoch()
    return time.process_time() - spent, time.perf_counter() - begin


def ours(reader: ShardReader) -> int:
    return sum(len(reader.batch(at, BATCH).images) for at in range(0, reader.num_samples, BATCH))


def plain(folder: str, made: Partition) -> int:
    tars = [f"{folder}/run/{shard.key}" for shard in made.shard_sets[0].shards]
    samples = wds.WebDataset(tars, shardshuffle=False).shuffle(BUFFER, initial=BUFFER)
    batches = samples.decode("rgb8").to_tuple("png", "json").batched(BATCH)
    return sum(len(np.asarray(images)) for images, _ in batches)


if __name__ == "__main__":
    main()
