"""What encoders have made of a run's samples, as far as the control plane needs to know."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from atoll import stages
from atoll.blobs import BlobStore
from atoll.config import Config
from atoll.errors import BadInput, StageMissing


def stage_of(series: str) -> str:
    """Name of the stage that makes a series, ``latents`` or ``captions``."""
    return f"encode-{series}"


def wanted_by(config: Config) -> Mapping[str, str | None]:
    """What encodes each series, by the key of the configuration that says so; None for nothing."""
    encoder = config.captions.encoder if config.expert.condition == "text" else "ngrams"
    return {
        "latents.vae": config.latents.vae,
        "captions.encoder": None if encoder == "ngrams" else encoder.transformers,
    }


def find_encoded(store: BlobStore, series: str) -> dict[str, Any] | None:
    """What was made last of a series, see :mod:`partition.manifest`; None if nothing was."""
    return stages.find(store, stage_of(series))


def refuse_unencoded(store: BlobStore, config: Config, needed_by: str) -> None:
    """Refuse to work on a run that is not encoded as its configuration asks for.

    Args:
        store: of the run.
        config: of the run.
        needed_by: command to name.

    Raises:
        StageMissing: something is not encoded yet; says which command does it.
        BadInput: something is encoded that the configuration does not ask for; names the key.
    """
    for key, encoder in wanted_by(config).items():
        series = key.partition(".")[0]
        made = find_encoded(store, series)
        if encoder is not None and made is None:
            raise StageMissing(
                f"`atoll {needed_by}` learns from what {key} = {encoder!r} encodes, which has not "
                "been done to its end here; run `atoll encode` first"
            )
        if encoder is None and made is not None:
            raise BadInput(
                f"the samples of this run are encoded, and the configuration has no {key} now; set "
                "it back, or give new settings a run.uri of their own"
            )


def is_encoded(store: BlobStore, config: Config) -> bool:
    """Whether all is encoded that the configuration asks for."""
    wanted = (key for key, encoder in wanted_by(config).items() if encoder is not None)
    return all(find_encoded(store, key.partition(".")[0]) is not None for key in wanted)


def seen_shape(store: BlobStore, partition: Mapping[str, Any]) -> tuple[int, int, int]:
    """Channels, height and width of what networks see.

    Args:
        store: of the run.
        partition: the stage's result, as JSON.
    """
    latents = find_encoded(store, "latents")
    if latents is not None:
        channels, height, width = latents["shape"]
    else:
        height, width, channels = partition["shape"]
    return channels, height, width


def seen_bytes(store: BlobStore, partition: Mapping[str, Any]) -> list[int]:
    """Bytes of the tars of each cluster that its trainer reads; arguments as of the above."""
    latents, captions = (find_encoded(store, series) for series in ("latents", "captions"))
    read = [
        [each["shards"] for each in partition["shard_sets"]]
        if latents is None
        else latents["shards"]
    ]
    read += [] if captions is None else [captions["shards"]]
    return [
        sum(shard["size_bytes"] for shards in of_cluster for shard in shards)
        for of_cluster in zip(*read, strict=True)
    ]
