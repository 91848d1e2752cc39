"""The partition stage: from a data set to centroids and one set of shards for each expert."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import logging
from collections.abc import Iterator
from dataclasses import asdict

import numpy as np
from numpy.typing import NDArray

from atoll import layout, stages
from atoll.blobs import BlobStore, local_path, make_place, open_store
from atoll.command import Progress, say
from atoll.config import Config
from atoll.digests import digest_of
from atoll.encoded import find_encoded, refuse_unasked
from atoll.errors import BadInput, DataError
from atoll.fit import refuse_condition, refuse_extractor, refuse_missing_captions
from atoll.image_size import name_of
from atoll.partitioned import STAGE, partition_inputs
from partition.centroids import CentroidModel, save_centroids
from partition.duplicate_list import look_for_duplicates
from partition.encoding.stage import refuse_unfit
from partition.feature_shards import keep_features
from partition.features import fit_features, write_features
from partition.intake import Intake, workers_for
from partition.listing import save_listing
from partition.manifest import Latents, Partition, ShardSet, Texts
from partition.montage import Montage
from partition.scratch import scratch
from partition.shards import ShardWriter
from partition.sources import open_source
from partition.spool import Spool
from partition.spread import Spread

_log = logging.getLogger(__name__)


def load_partition(store: BlobStore, needed_by: str = "train") -> Partition:
    """The partition of a run, with what was encoded of it.

    Args:
        store: the run's.
        needed_by: command to name where the partition is missing.

    Raises:
        StageMissing: it has not been made.
    """
    made = Partition.from_json(stages.require(store, STAGE, needed_by))
    latents, texts = (
        find_encoded(store, series, made.digest) for series in ("latents", "captions")
    )
    return dataclasses.replace(
        made,
        latents=None if latents is None else Latents.from_json(latents),
        texts=None if texts is None else Texts.from_json(texts),
    )


def find_partition(config: Config) -> Partition | None:
    """The partition this configuration made earlier; None if it has not, or part of it is gone.

    Raises:
        BadInput: the run holds one of other settings, or the data do not fit the rest of them;
            names the key.
    """
    store = open_store(config.run.uri)
    result = stages.finished(store, STAGE, partition_inputs(config))
    if result is None:
        return None
    made = Partition.from_json(result)
    refuse_extractor(config, len(made.class_names))
    if made.has_captions:
        refuse_missing_captions(config, made.num_without_caption)
    refuse_unasked(store, config, made.digest)
    return made if all(map(store.exists, _keys(made))) else None


def run_partition(config: Config, progress: Progress) -> Partition:
    """Split the data set into clusters and write their shards; done once for a run.

    Args:
        config: the run.
        progress: called as the stage goes on.

    Raises:
        BadInput: the data or the settings cannot be used; nothing of the run is lost.
        StorageFull: no space left; the same command goes on once there is.
    """
    done = find_partition(config)
    if done is not None:
        return done
    places = (layout.state_folder(config.run.uri), local_path(config.run.uri))
    fresh = [place for place in places if place is not None and not place.exists()]
    make_place(config.run.uri)
    try:
        return _made(config, progress)
    except BadInput:
        for place in fresh:
            with contextlib.suppress(OSError):  # it holds something
                place.rmdir()
        raise


def _made(config: Config, progress: Progress) -> Partition:
    from partition.assignment import assign_samples  # noqa: PLC0415 - readers need no scikit-learn

    store = open_store(config.run.uri)
    if stages.find(store, STAGE) is not None:
        say("files of the partition that was made before are gone; making it again")
    source = open_source(config.data)
    workers, needs_captions = workers_for(config.data), config.expert.condition == "text"
    intake = Intake(
        source,
        config.data,
        workers,
        needs_captions=needs_captions,
        seed=config.run.seed,
    )
    with scratch(layout.state_folder(config.run.uri), STAGE) as folder, workers:
        refuse_unfit(config, store, intake.shape)
        told = functools.partial(progress, "reading samples")
        spool = Spool(intake, folder / "samples", workers, lambda done: told(done, None))
        class_names = source.class_names or tuple(map(str, range(intake.num_labels)))
        refuse_condition(config, has_labels=bool(class_names), has_captions=intake.has_captions)
        refuse_extractor(config, len(class_names))
        spread = Spread()
        features = fit_features(config.partition, spool, progress)
        rows = write_features(features, spread.over(spool), folder / "features", progress)
        duplicates = look_for_duplicates(rows, config, progress)
        rows = duplicates.without_dropped(rows, folder / "kept")
        buckets = duplicates.of_kept(spool.buckets)
        _refuse_empty_main(config, buckets)
        progress("clustering", 0, None)
        assignment = assign_samples(rows, config.partition, config.run.seed)
        clusters = map(int, assignment.clusters)
        montage = Montage(assignment.sizes, spool.shape[:2])
        writer = ShardWriter(
            store,
            folder,
            config.partition.num_experts,
            config.partition.samples_per_shard,
            config.data.buckets or (),
        )
        samples = zip(duplicates.kept(spool), clusters, strict=True)
        for index, (sample, cluster) in enumerate(samples):
            writer.append(cluster, sample.label, sample.members, sample.bucket)
            montage.add(cluster, sample.png)
            progress("writing shards", index + 1, len(assignment.clusters))
        shard_sets = writer.close(len(class_names))
        kept_features = keep_features(store, rows, assignment.clusters, buckets, shard_sets)
    store.publish(layout.MONTAGE, montage.as_png())
    model = CentroidModel(
        features=features,
        fine=assignment.fine,
        cluster_of_fine=assignment.cluster_of_fine,
        coarse=assignment.coarse,
        offsets=assignment.offsets,
        scatter=assignment.scatter,
    )
    centroids = save_centroids(store, model)
    skipped = None
    if intake.skipped:
        skipped = save_listing(store, layout.left_out, map(asdict, intake.skipped))
    partition = Partition(
        digest=_digest(centroids.digest, shard_sets),
        num_samples=len(assignment.clusters),
        shape=intake.shape,
        class_names=class_names,
        has_captions=intake.has_captions,
        num_without_caption=intake.num_without_caption,
        caption_words=tuple(sorted(intake.num_words.items())),
        skipped=skipped,
        centroids=centroids.key,
        centroids_digest=centroids.digest,
        shard_sets=shard_sets,
        features=kept_features,
        std=spread.std,
        duplicates=duplicates.save(store),
        buckets=config.data.buckets or (),
    )
    stages.finish(store, STAGE, partition_inputs(config), partition.as_json())
    sizes = [shard_set.num_samples for shard_set in shard_sets]
    _log.info("partition-made", extra={"fields": {"sizes": sizes, "digest": partition.digest}})
    return partition


def _refuse_empty_main(config: Config, buckets: NDArray[np.int32]) -> None:
    """Refuse a first bucket that nothing could be drawn at, nor be judged by.

    Args:
        config: of the run.
        buckets: of each sample.

    Raises:
        DataError: names the key and the mend.
    """
    if config.data.buckets and 0 not in buckets:
        raise DataError(
            f"no image is nearest to {name_of(*config.data.buckets[0])}, the first of "
            "data.buckets, which is what is drawn unless asked otherwise; put another first"
        )


def _keys(made: Partition) -> Iterator[str]:
    """Everything that is stored of a partition."""
    yield layout.MONTAGE
    yield made.centroids
    yield from (each.key for each in (made.skipped, made.duplicates) if each is not None)
    for shard_set in made.shard_sets:
        yield from (shard.key for shard in shard_set.shards)
    for shards in made.features.shards:
        yield from (shard.key for shard in shards)


def _digest(centroids: str, shard_sets: tuple[ShardSet, ...]) -> str:
    shards = [[shard.digest for shard in shard_set.shards] for shard_set in shard_sets]
    return digest_of({"centroids": centroids, "shards": shards})
