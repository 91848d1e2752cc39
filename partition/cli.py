"""``atoll partition``."""

from __future__ import annotations

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
from partition.manifest import DuplicateList, Partition


def partition(
    config: ConfigOption = None, set_: SetOption = None, json_: JsonOption = False
) -> None:
    """Split the data set into one cluster for each expert and write their shards."""
    from atoll import layout
    from partition.stage import find_partition

    settings = run_config(config, set_ or ())
    found = find_partition(settings)
    if found is not None:
        say(f"already partitioned: {settings.run.uri} holds it; nothing to do")
    made = found or _run(settings)
    if made.skipped:
        say(_left_out(made))
    if made.duplicates is not None:
        say(_nearly_the_same(made.duplicates, settings.run.uri))
    if json_:
        print_json(
            {
                "clusters": _rows(made),
                "skipped": list(map(asdict, made.skipped)),
                "duplicates": made.duplicates and asdict(made.duplicates),
            }
        )
    else:
        title = f"{made.num_samples:,} samples in {made.num_experts} clusters"
        show(title, _rows(made), as_json=False)
    say(f"samples of each cluster: {settings.run.uri.rstrip('/')}/{layout.MONTAGE}")


def _run(settings: Config) -> Any:
    from partition.stage import run_partition

    with progress_bars() as progress:
        return run_partition(settings, progress)


def _left_out(made: Partition, most: int = 3) -> str:
    """How many samples are missing, and of a few which and why."""
    num = len(made.skipped)
    named = [f"{item.name} ({item.reason})" for item in made.skipped[:most]]
    more = f", and {num - most:,} more that --json names" if num > most else ""
    return f"{num:,} of {made.num_samples + num:,} left out: {', '.join(named)}{more}"


def _nearly_the_same(found: DuplicateList, uri: str) -> str:
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


def _classes(counts: tuple[int, ...], names: tuple[str, ...], most: int = 4) -> str:
    """The classes a cluster holds most of, with their counts."""
    ranked = sorted(zip(counts, names, strict=True), reverse=True)
    present = [f"{name} ({count:,})" for count, name in ranked if count]
    more = f", {len(present) - most} more" if len(present) > most else ""
    return ", ".join(present[:most]) + more
