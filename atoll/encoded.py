"""What encoders have made of a run's samples, as far as the control plane needs to know."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

from atoll import layout, stages
from atoll.blobs import BlobStore
from atoll.config import Config
from atoll.digests import digest_of
from atoll.errors import BadInput, BlobMissing, StageMissing
from atoll.partitioned import STAGE


def stage_of(series: str, partition: str) -> str:
    """Name of the stage that makes a series, ``latents`` or ``captions``, of one partition.

    Args:
        series: which.
        partition: its digest: what was made of the samples of another is none of this one's.
    """
    return f"encode-{series}-{partition[:16]}"


def wanted_by(config: Config) -> Mapping[str, str | None]:
    """What encodes each series, by the key of the configuration that says so; None for nothing."""
    encoder = config.captions.encoder if config.expert.condition == "text" else "ngrams"
    return {
        "latents.vae": config.latents.vae,
        "captions.encoder": None if encoder == "ngrams" else encoder.transformers,
    }


def inputs_of(config: Config, series: str, model: str) -> dict[str, Any]:
    """All of the configuration that a series follows from, by its keys; other ones are refused.

    Args:
        config: of the run.
        series: as of :func:`stage_of`.
        model: digest of the encoder, which stands in place of its name.
    """
    if series == "captions":
        return {"captions": {"encoder": model, "tokens": config.captions.tokens}}
    names = ("precision", "kind", "scale", "shift")
    section = {name: getattr(config.latents, name) for name in names}
    drawn = {"run": {"seed": config.run.seed}} if config.latents.kind == "samples" else {}
    return {"latents": {"vae": model, **section}, "data": {"flip": config.data.flip}, **drawn}


def find_encoded(store: BlobStore, series: str, partition: str) -> dict[str, Any] | None:
    """What was made of a series, see :mod:`partition.manifest`; None if nothing was.

    Args:
        store: of the run.
        series: as of :func:`stage_of`.
        partition: likewise.
    """
    return stages.find(store, stage_of(series, partition))


def refuse_other_files(
    store: BlobStore, config: Config, series: str, files: Mapping[str, str]
) -> None:
    """Refuse files of an encoder that are not those of a series, before anything is kept of them.

    Args:
        store: of the run.
        config: of the run, which asks for the series.
        series: as of :func:`stage_of`.
        files: sha256 (hex) of each file of the encoder, by its name.

    Raises:
        BadInput: see :func:`refuse_other_encoder`.
    """
    partition = stages.find(store, STAGE)
    if partition is not None:
        model = digest_of(dict(files))
        refuse_other_encoder(store, config, series, partition["digest"], model, files)


def refuse_other_encoder(  # noqa: PLR0917 - all that a refusal tells
    store: BlobStore,
    config: Config,
    series: str,
    partition: str,
    model: str,
    files: Mapping[str, str] | None = None,
) -> None:
    """Refuse an encoder that is not the one of a series, by the name it has for people.

    Args:
        store: of the run.
        config: of the run, which asks for the series.
        series: as of :func:`stage_of`.
        partition: likewise.
        model: digest of the encoder; its name where no files of that name were looked at.
        files: of the encoder, where the run may not keep it.

    Raises:
        BadInput: the run was encoded by another one; names the key, and what differs.
    """
    found = find_encoded(store, series, partition)
    if found is None or found["model"] == model:
        return
    ((key, name),) = ((k, n) for k, n in wanted_by(config).items() if k.startswith(f"{series}."))
    before = next((n for n, digest in _named(store) if digest == found["model"]), None)
    told, mend = f"{before!r}, and the configuration now says {name!r}", "set the key back"
    if before in {None, name}:  # its name stands for others since then
        changed = _changed(store, found["model"], model, files)
        told, mend = f"other files of {name!r} ({changed})", "put back those it was made with"
    raise BadInput(
        f"this run was made with {key} = {told}; give new settings a run.uri of their own, or "
        f"{mend}"
    )


def _named(store: BlobStore) -> Iterator[tuple[str, str]]:
    """Names of encoders, and the digest of the files that each stood for last."""
    for key in store.list(layout.MODEL_NAMES):
        told = json.loads(store.get_bytes(key))
        yield told["name"], told["digest"]


def _changed(store: BlobStore, before: str, now: str, files: Mapping[str, str] | None) -> str:
    """Names of the files in which two encoders differ; of one the run never saw, just its name."""

    def kept(model: str) -> dict[str, str]:
        told: dict[str, str] = json.loads(store.get_bytes(layout.model_manifest(model)))
        return told

    try:
        one, other = kept(before), kept(now) if files is None else files
    except BlobMissing:
        return now
    return ", ".join(sorted({name for name, _ in one.items() ^ other.items()}))


def refuse_other_names(store: BlobStore, config: Config, partition: str) -> None:
    """Refuse to draw by an encoder that is not the one the run was encoded by.

    Args:
        store: of the run.
        config: of the run; what it does not name is the run's own.
        partition: digest.

    Raises:
        BadInput: names the key.
    """
    for key, encoder in wanted_by(config).items():
        if encoder is not None:
            series = key.partition(".")[0]
            refuse_other_encoder(store, config, series, partition, _model_of(store, encoder))


def refuse_unasked(store: BlobStore, config: Config, partition: str) -> None:
    """Refuse to pass over what a run was encoded by.

    Args:
        store: of the run.
        config: of the run.
        partition: its digest.

    Raises:
        BadInput: something is encoded that the configuration does not ask for; names the key.
    """
    for key, encoder in wanted_by(config).items():
        encoded = find_encoded(store, key.partition(".")[0], partition)
        if encoder is None and encoded is not None:
            has_model = key == "captions.encoder" and config.captions.encoder != "ngrams"
            told = 'no expert.condition = "text"' if has_model else f"no {key}"
            raise BadInput(
                f"the samples of this run are encoded, and the configuration has {told} now; "
                "set it back, or give new settings a run.uri of their own"
            )


def refuse_unencoded(store: BlobStore, config: Config, partition: str, needed_by: str) -> None:
    """Refuse to work on a run that is not encoded as its configuration asks for.

    Args:
        store: of the run.
        config: of the run.
        partition: its digest.
        needed_by: command to name.

    Raises:
        StageMissing: something is not encoded yet; says which command does it.
        BadInput: something is encoded with other settings, or is not asked for; names the key.
    """
    refuse_unasked(store, config, partition)
    for key, encoder in wanted_by(config).items():
        if encoder is None:
            continue
        series = key.partition(".")[0]
        model = _model_of(store, encoder)
        refuse_other_encoder(store, config, series, partition, model)
        inputs = inputs_of(config, series, model)
        if stages.finished(store, stage_of(series, partition), inputs) is None:
            raise StageMissing(
                f"`atoll {needed_by}` learns from what {key} = {encoder!r} encodes, which has not "
                "been done to its end here; run `atoll encode` first"
            )


def _model_of(store: BlobStore, name: str) -> str:
    """What a name stood for when it was last looked at; itself where that is not known."""
    try:
        digest: str = json.loads(store.get_bytes(layout.model_name(name)))["digest"]
    except BlobMissing:
        return name
    return digest


def is_encoded(store: BlobStore, config: Config, partition: str) -> bool:
    """Whether something is encoded of all that the configuration asks for."""
    wanted = (key for key, encoder in wanted_by(config).items() if encoder is not None)
    return all(find_encoded(store, key.partition(".")[0], partition) is not None for key in wanted)


def seen_shape(store: BlobStore, partition: Mapping[str, Any]) -> tuple[int, int, int]:
    """Channels, height and width of what networks see.

    Args:
        store: of the run.
        partition: the stage's result, as JSON.
    """
    latents = find_encoded(store, "latents", partition["digest"])
    if latents is not None:
        channels, height, width = latents["shape"]
    else:
        height, width, channels = partition["shape"]
    return channels, height, width


def pixels_per_place(store: BlobStore, partition: Mapping[str, Any]) -> int:
    """Along the side of a place that networks see, 1 for pixels; arguments as of the above."""
    rows: int = partition["shape"][0]
    return rows // seen_shape(store, partition)[1]


def seen_bytes(store: BlobStore, partition: Mapping[str, Any]) -> list[int]:
    """Bytes of the tars of each cluster that its trainer reads; arguments as of the above."""
    latents, captions = (
        find_encoded(store, series, partition["digest"]) for series in ("latents", "captions")
    )
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
