"""``atoll partition``."""

from __future__ import annotations

from typing import Any

from atoll.command import ConfigOption, JsonOption, SetOption, progress_bars, say, show
from atoll.config import Config
from atoll.config_file import read_config
from partition.manifest import Partition


def partition(
    config: ConfigOption = None, set_: SetOption = None, json_: JsonOption = False
) -> None:
    """Split the data set into one cluster for each expert and write their shards."""
    from atoll import layout
    from partition.stage import find_partition

    settings = read_config(config, set_ or ())
    found = find_partition(settings)
    if found is not None:
        say(f"already partitioned: {settings.run.uri} holds it; nothing to do")
    made = found or _run(settings)
    for name in made.skipped:
        say(f"skipped: {name}")
    title = f"{made.num_samples:,} samples in {made.num_experts} clusters"
    show(title, _rows(made), as_json=json_)
    say(f"samples of each cluster: {settings.run.uri.rstrip('/')}/{layout.MONTAGE}")


def _run(settings: Config) -> Any:
    from partition.stage import run_partition

    with progress_bars() as progress:
        return run_partition(settings, progress)


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
