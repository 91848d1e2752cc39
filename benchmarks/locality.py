"""How long a trainer's shards take from a bucket to its first batch, and through an epoch.

    OMP_NUM_THREADS=1 python benchmarks/locality.py

Baseline: webdataset, streaming the same tars from the same server. It shuffles in a buffer, so that
it needs a part of the data for its first batch; Atoll's order is uniform over the whole cluster,
and needs all of it. The server is moto on loopback: of a real bucket, the way there comes on top.
"""

import argparse
import contextlib
import json
import os
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import boto3
import numpy as np
import webdataset as wds

from atoll.blobs import open_store
from atoll.node_cache import NodeCache
from partition.images import encode_png
from partition.manifest import Partition
from partition.reader import ShardReader
from partition.shards import ShardWriter, members
from partition.sources import Sample

BUCKET, BATCH, SIDE, BUFFER = "bench", 128, 32, 5000


@contextmanager
def bucket() -> Iterator[str]:
    """Inside, a bucket is served by another process."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    os.environ |= {
        "AWS_ENDPOINT_URL": f"http://127.0.0.1:{port}",
        "AWS_ACCESS_KEY_ID": "bench",
        "AWS_SECRET_ACCESS_KEY": "bench",
        "AWS_DEFAULT_REGION": "us-east-1",
    }
    command = [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", port]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as server:
        try:
            wait_for(int(port))
            boto3.client("s3").create_bucket(Bucket=BUCKET)
            yield f"s3://{BUCKET}"
        finally:
            server.terminate()


def wait_for(port: int) -> None:
    for _ in range(600):
        with (
            contextlib.suppress(ConnectionRefusedError),
            socket.create_connection(("127.0.0.1", port)),
        ):
            return
        time.sleep(0.1)
    raise SystemExit("moto does not come up")


def partitioned(uri: str, num_samples: int, num_shards: int) -> Partition:
    """One cluster of noise, which no PNG makes small."""
    draw = np.random.default_rng(0)
    with tempfile.TemporaryDirectory() as scratch:
        writer = ShardWriter(open_store(uri), Path(scratch), 1, num_samples // num_shards)
        for index in range(num_samples):
            image = draw.integers(0, 256, (SIDE, SIDE, 3), np.uint8)
            sample = Sample(str(index), image, index % 10, None)
            writer.append(0, sample.label, members(index, sample, encode_png(image)))
        shard_sets = writer.close(10)
    names = tuple(map(str, range(10)))
    return Partition("d", num_samples, (SIDE, SIDE, 3), names, False, None, "", "", shard_sets)


def atoll(uri: str, partition: Partition, cache: Path) -> tuple[float, float]:
    """Seconds to the first batch, and to the end of the epoch."""
    begin = time.perf_counter()
    reader = ShardReader(open_store(uri), partition, [0], NodeCache(cache), seed=0)
    reader.batch(0, BATCH)
    first = time.perf_counter() - begin
    for cursor in range(BATCH, partition.num_samples - BATCH, BATCH):
        reader.batch(cursor, BATCH)
    return first, time.perf_counter() - begin


def webdataset(partition: Partition) -> tuple[float, float]:
    """The same of the baseline."""
    begin = time.perf_counter()
    client = boto3.client("s3")
    urls = [
        client.generate_presigned_url("get_object", {"Bucket": BUCKET, "Key": f"{shard.key}"})
        for shard in partition.shard_sets[0].shards
    ]
    piped = [f"pipe:curl -sf '{url}'" for url in urls]
    samples = wds.WebDataset(piped, shardshuffle=False).shuffle(BUFFER, initial=BUFFER)
    batches = iter(samples.decode("rgb8").to_tuple("png", "json").batched(BATCH))
    next(batches)
    first = time.perf_counter() - begin
    for _ in batches:
        pass
    return first, time.perf_counter() - begin


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--samples", type=int, default=20_000)
    parser.add_argument("--shards", type=int, default=4)
    parser.add_argument("--repeats", type=int, default=3)
    given = parser.parse_args()
    took: dict[str, list[tuple[float, float]]] = {"cold": [], "warm": [], "webdataset": []}
    with bucket() as uri:
        partition = partitioned(uri, given.samples, given.shards)
        for _ in range(given.repeats):  # interleaved, so that all meet the same neighbours
            with tempfile.TemporaryDirectory() as cache:
                took["cold"].append(atoll(uri, partition, Path(cache)))
                took["warm"].append(atoll(uri, partition, Path(cache)))
            took["webdataset"].append(webdataset(partition))
    first = {name: statistics.median(each[0] for each in runs) for name, runs in took.items()}
    epoch = {name: statistics.median(each[1] for each in runs) for name, runs in took.items()}
    result = {
        "benchmark": "locality",
        "megabytes": round(sum(s.size_bytes for s in partition.shard_sets[0].shards) / 1e6, 1),
        "first_batch_s": {name: round(seconds, 3) for name, seconds in first.items()},
        "epoch_s": {name: round(seconds, 3) for name, seconds in epoch.items()},
        "cold_ratio": round(first["cold"] / first["webdataset"], 2),
        "warm_ratio": round(first["warm"] / first["webdataset"], 2),
        "repeats": given.repeats,
    }
    print(json.dumps(result))


if __name__ == "__main__":
    main()
