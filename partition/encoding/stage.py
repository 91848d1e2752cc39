"""The encode stage: what encoders make of a partition's samples, once.

Any number of machines may work on it at the same time. Each takes tars that nobody has recorded
yet, in an order of its own, so that two of them seldom meet at the same one; if they do, both make
the same bytes. What was recorded before a crash is kept.
"""

from __future__ import annotations

import logging
import random
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch

from atoll import layout, stages
from atoll.blobs import BlobStore, open_store
from atoll.command import Progress
from atoll.config import Config
from atoll.encoded import inputs_of, refuse_other_encoder, stage_of, wanted_by
from atoll.fit import refuse_patches
from partition.encoding.latents import LatentSeries
from partition.encoding.series import Series
from partition.encoding.shard import Record, find_record
from partition.encoding.workers import Task, encoded, num_workers
from partition.manifest import Partition, Shard
from partition.scratch import scratch
from partition.workers import num_cores

_log = logging.getLogger(__name__)


def wants_encoding(config: Config) -> bool:
    """Whether the configuration asks for anything to be encoded."""
    return any(encoder is not None for encoder in wanted_by(config).values())


def is_encoded(config: Config, partition: Partition) -> bool:
    """Whether all that the configuration asks for is made, and still there.

    Raises:
        BadInput: an encoder cannot be used, or something was made with other settings; names the
            key.
    """
    store = open_store(config.run.uri)
    return all(
        _is_made(config, store, partition, series) for series in series_of(config, partition)
    )


def run_encode(config: Config, partition: Partition, progress: Progress) -> None:
    """Encode what the configuration asks for; done once for a run.

    Args:
        config: the run.
        partition: of its data.
        progress: called as it goes on.

    Raises:
        BadInput: an encoder cannot be used or does not fit the data, or something was made with
            other settings; names the key.
        StorageFull: no space left; the same command goes on once there is.
        OutOfMemory: a model needs more than there is.
    """
    store = open_store(config.run.uri)
    for series in series_of(config, partition):
        if not _is_made(config, store, partition, series):
            _make(config, store, partition, series, progress)


def series_of(config: Config, partition: Partition) -> list[Series]:
    """What is to be made of the samples.

    Raises:
        BadInput: an encoder cannot be used, or does not fit the data; names the key.
    """
    return _planned(config, open_store(config.run.uri), partition.shape)


def refuse_unfit(config: Config, store: BlobStore, image: tuple[int, int, int]) -> None:
    """Refuse images that the networks cannot take, and encoders that are no use; before long work.

    An encoder is opened once, which tells what its files lack: a text model by the names and shapes
    of its weights, an autoencoder, which is small, with the weights themselves.

    Args:
        config: of the run.
        store: of the run.
        image: height, width and channels; of those of the first bucket.

    Raises:
        BadInput: names the key, and what would fit.
    """
    if config.latents.vae is None:
        for size in config.data.buckets or (image[:2],):
            refuse_patches(config, *size)
    for series in _planned(config, store, image):
        series.open(store, _copies(config), torch.device("meta"))


def _planned(config: Config, store: BlobStore, image: tuple[int, int, int]) -> list[Series]:
    found: list[Series] = []
    if config.latents.vae is not None:
        found.append(LatentSeries.planned(config, store, image))
    if wanted_by(config)["captions.encoder"] is not None:
        from partition.encoding.captions import CaptionSeries  # noqa: PLC0415 - optional

        found.append(CaptionSeries.planned(config, store))
    return found


def _copies(config: Config) -> Path:
    """Where models of a store that is not on this machine are fetched to."""
    return layout.state_folder(config.run.uri) / "cache"


def _make(
    config: Config, store: BlobStore, partition: Partition, series: Series, progress: Progress
) -> None:
    clusters = [shard_set.shards for shard_set in partition.shard_sets]
    every = [shard for shards in clusters for shard in shards]
    found = ((shard, find_record(store, series, shard)) for shard in every)
    records = {shard.digest: record for shard, record in found if record is not None}
    missing = [shard for shard in every if shard.digest not in records]
    random.shuffle(missing)

    def open_ones() -> Iterator[Shard]:
        for shard in missing:
            record = find_record(store, series, shard)  # somebody else's, meanwhile
            if record is None:
                yield shard
            else:
                records[shard.digest] = record

    doing = f"encoding {series.name}"
    with scratch(layout.state_folder(config.run.uri), "encode") as folder:
        workers = num_workers(series.workers, max(len(missing), 1))
        task = Task(
            config.run.uri,
            config.cache,
            series,
            folder=folder,
            models=_copies(config),
            threads=max(1, num_cores() // workers),
        )
        progress(doing, _num_done(records), partition.num_samples)
        for shard, record in encoded(task, open_ones(), workers):
            records[shard.digest] = record
            progress(doing, _num_done(records), partition.num_samples)
    sums: dict[str, float] = {}
    for shard in every:  # in their order, in which floating-point sums come out alike
        for name, value in records[shard.digest].sums.items():
            sums[name] = sums.get(name, 0.0) + value
    made = tuple(tuple(records[shard.digest].shard for shard in shards) for shards in clusters)
    if _is_made(config, store, partition, series):
        return  # somebody else's, meanwhile: two of one name must not differ in a sum's last digit
    result = asdict(series.result(made, sums))
    stage, inputs = _stage(config, partition, series)
    stages.finish(store, stage, inputs, result)
    _log.info("encoded", extra={"fields": {"series": series.name, "digest": series.digest}})


def _is_made(config: Config, store: BlobStore, partition: Partition, series: Series) -> bool:
    refuse_other_encoder(store, config, series.name, partition.digest, series.model)
    result = stages.finished(store, *_stage(config, partition, series))
    if result is None:
        return False
    return all(store.exists(shard["key"]) for shards in result["shards"] for shard in shards)


def _stage(config: Config, partition: Partition, series: Series) -> tuple[str, dict[str, Any]]:
    name = stage_of(series.name, partition.digest)
    return name, inputs_of(config, series.name, series.model)


def _num_done(records: dict[str, Record]) -> int:
    return sum(record.shard.num_samples for record in records.values())
