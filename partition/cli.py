"""``atoll partition``."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import asdict
from typing import Any

from atoll.command import (
    ConfigOption,
    JsonOption,
    SetOption,
    print_json,
    progress_bars,
    say,
    show,
)
from atoll.config import Config
from atoll.config_file import run_config
from atoll.image_size import name_of
from partition.manifest import DuplicateList, Partition

_NAMED = 3  # samples left out, or classes without any, of which the terminal tells


def partition(
    config: ConfigOption = None, set_: SetOption = None, json_: JsonOption = False
) -> None:
    """Split the data set into one cluster for each expert and write their shards.

    What the configuration wants encoded, such as images by an autoencoder, is encoded afterwards;
    `atoll encode` does the same on other machines beside this one.
    """
    from atoll import layout
    from atoll.blobs import open_store
    from atoll.heard import tell_of_cut
    from partition.stage import find_partition

    settings = run_config(config, set_ or ())
    found = find_partition(settings)
    if found is not None:
        say(f"already partitioned: {settings.run.uri} holds it; nothing to do")
    made = found or _run(settings)
    _encode(settings, made)
    tell_of_cut(open_store(settings.run.uri), settings, made.as_json())
    if made.skipped is not None:
        shown, told = _skipped(settings, made), "that stand below" if json_ else "that --json names"
        say(_left_out(shown, made.skipped.num, made.num_samples, told))
    idle = made.classes_without_samples
    if idle and settings.expert.condition == "class":
        more = f" and {len(idle) - _NAMED:,} more" if len(idle) > _NAMED else ""
        named = f"{', '.join(idle[:_NAMED])}{more}"
        say(f"no sample is of {named}: what is drawn of such a class is noise")
    if made.duplicates is not None:
        say(_nearly_the_same(made.duplicates, settings.run.uri))
    buckets = _bucket_rows(made)
    for row in buckets:
        if not row["samples"]:
            say(_nearest_to_none(row))
    if json_:
        print_json(
            {
                "clusters": _rows(made),
                "buckets": buckets,
                "skipped": list(_skipped(settings, made)),
                "duplicates": made.duplicates and asdict(made.duplicates),
            }
        )
    else:
        title = f"{made.num_samples:,} samples in {made.num_experts} clusters"
        show(title, _rows(made), as_json=False)
        if buckets:
            show(f"in {len(buckets)} buckets", buckets, as_json=False)
    say(f"samples of each cluster: {settings.run.uri.rstrip('/')}/{layout.MONTAGE}")


def encode(config: ConfigOption = None, set_: SetOption = None) -> None:
    """Encode a partitioned data set, alone or beside other machines that do.

    What is done already is found and kept.
    """
    from atoll.blobs import open_store
    from atoll.errors import BadInput
    from atoll.heard import tell_of_cut
    from atoll.partitioned import require_partition
    from partition.encoding.stage import wants_encoding
    from partition.stage import load_partition

    settings = run_config(config, set_ or ())
    if not wants_encoding(settings):
        raise BadInput(
            "the configuration asks for nothing to be encoded; give the file that the samples were "
            "partitioned by, or set latents.vae to an autoencoder, or captions.encoder to a model"
        )
    store = open_store(settings.run.uri)
    require_partition(store, settings, "encode")
    made = load_partition(store)
    _encode(settings, made)
    tell_of_cut(store, settings, made.as_json())


def _encode(settings: Config, made: Partition) -> None:
    from partition.encoding.stage import is_encoded, run_encode, wants_encoding

    if not wants_encoding(settings):
        return
    if is_encoded(settings, made):
        say(f"already encoded: {settings.run.uri} holds it; nothing to do")
        return
    with progress_bars() as progress:
        run_encode(settings, made, progress)


def _run(settings: Config) -> Any:
    from partition.stage import run_partition

    with progress_bars() as progress:
        return run_partition(settings, progress)


def _skipped(settings: Config, made: Partition) -> Iterator[dict[str, Any]]:
    """What was left out, and why."""
    from atoll.blobs import open_store
    from partition.listing import read_listing

    if made.skipped is not None:
        yield from read_listing(open_store(settings.run.uri), made.skipped)


def _left_out(skipped: Iterator[dict[str, Any]], num: int, num_samples: int, others: str) -> str:
    """How many samples are missing, of a few which and why, and where the others are named."""
    named = [f"{item['name']} ({item['reason']})" for item in itertools.islice(skipped, _NAMED)]
    more = f", and {num - _NAMED:,} more {others}" if num > _NAMED else ""
    # No share: how many samples were in what is missing of a tar, nobody knows.
    return f"{num_samples:,} samples; left out {num:,}: {', '.join(named)}{more}"


def _nearly_the_same(found: DuplicateList, uri: str) -> str:
    if not found.num:
        return "no samples are nearly the same as others"
    done = "dropped" if found.dropped else "kept"
    listed = f"{uri.rstrip('/')}/{found.key}"
    return f"{found.num:,} samples that are nearly the same as others, {done}: see {listed}"


def _rows(made: Partition) -> list[dict[str, Any]]:
    return [
        {
            "cluster": shard_set.cluster,
            "samples": shard_set.num_samples,
            "share": f"{shard_set.num_samples / made.num_samples:.1%}",
            "classes": _classes(shard_set.label_counts, made.class_names),
            "shards": len(shard_set.shards),
            "bytes": sum(shard.size_bytes for shard in shard_set.shards),
        }
        for shard_set in made.shard_sets
    ]


def _bucket_rows(made: Partition) -> list[dict[str, Any]]:
    """Of each bucket, how many samples it has; nothing where all images are of one size."""
    rows = []
    for bucket, (height, width) in enumerate(made.buckets):
        nums = [
            sum(shard.num_samples for shard in shard_set.shards if shard.bucket == bucket)
            for shard_set in made.shard_sets
        ]
        rows.append(
            {
                "size": name_of(height, width),
                "samples": sum(nums),
                "share": f"{sum(nums) / made.num_samples:.1%}",
                "clusters": sum(map(bool, nums)),
            }
        )
    return rows


def _nearest_to_none(row: dict[str, Any]) -> str:
    return (
        f"no image is nearest to {row['size']} in proportions: no network "
        "learns that size; leave it out of data.buckets, under a run.uri of its own"
    )


def _classes(counts: tuple[int, ...], names: tuple[str, ...], most: int = 4) -> str:
    """The classes a cluster holds most of, with their counts."""
    ranked = sorted(zip(counts, names, strict=True), reverse=True)
    present = [f"{name} ({count:,})" for count, name in ranked if count]
    more = f", {len(present) - most} more" if len(present) > most else ""
    return ", ".join(present[:most]) + more
