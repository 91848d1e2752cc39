"""What ``atoll inspect`` looks at: a data source, or the shards of a run."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from atoll import stages
from atoll.blobs import BlobStore, open_store
from atoll.config import Config
from atoll.errors import BadInput, BlobError
from atoll.partitioned import STAGE
from atoll.sections import DataSection
from partition.encoding.series import Stored
from partition.encoding.shard import stored_samples
from partition.images import decode_png
from partition.intake import workers_for
from partition.manifest import Partition
from partition.sources import Pending, Sample, Unreadable, open_source
from partition.sources.webdataset import holds_tars
from partition.workers import Workers

Items = Iterable[Sample | Unreadable | Pending]


@dataclass(frozen=True, slots=True)
class Subject:
    """Samples to look at.

    Attributes:
        title: says what they are.
        class_names: by number; empty where they are not named.
        total: how many there are to be; None where nobody knows.
        workers: who decodes them.
        items: gives them, with an empty folder for copies of shards.
    """

    title: str
    class_names: tuple[str, ...]
    total: int | None
    workers: Workers
    items: Callable[[Path], Items]


def subject_of(config: Config, *, source: bool, run: bool) -> Subject:
    """What a configuration means.

    Args:
        config: of a run, or the defaults.
        source: whether to look at the data even where the run has shards of them.
        run: whether it is the run that was named, and no data.

    Raises:
        BadInput: it cannot be opened, or the run is not partitioned.
    """
    store = open_store(config.run.uri)
    result = None if source else stages.find(store, STAGE)
    if result is None and run and not source:
        raise BadInput(
            f"run.uri = {config.run.uri!r} holds no partition; name a run that does, or data: a "
            "path, or a file by --config"
        )
    if result is None:
        return _source_of(config.data)
    made = Partition.from_json(result)
    return Subject(
        title=f"{config.run.uri}, in {made.num_experts} clusters",
        class_names=made.class_names,
        total=made.num_samples,
        workers=Workers(config.data.workers),
        items=lambda copies: _shards(store, made, copies),
    )


def _source_of(data: DataSection) -> Subject:
    source = open_source(data)
    title = data.path or data.source
    return Subject(title, source.class_names, None, workers_for(data), lambda _: source)


def kind_of(path: str) -> Literal["npz", "webdataset", "folder"]:
    """The ``data.source`` of a path: a folder is one of tars if there are any below it."""
    if path.endswith(".npz"):
        return "npz"
    folder = Path(path)
    if not folder.is_dir():
        return "webdataset"
    return "webdataset" if holds_tars(folder) else "folder"


@dataclass(frozen=True, slots=True)
class _OfShard(Pending):
    """A sample of a shard that was verified, named as it is in the data."""

    stored: Stored

    def read(self) -> Sample:
        """See :class:`Pending`."""
        told = self.stored.told
        return Sample(told["key"], decode_png(self.stored.image), told["label"], told["caption"])


def _shards(store: BlobStore, made: Partition, copies: Path) -> Iterator[Unreadable | Pending]:
    """The samples of a run's shards, of which at most one is copied here at a time."""
    for shard in (shard for shard_set in made.shard_sets for shard in shard_set.shards):
        try:
            path = store.fetch(shard.key, shard.digest, copies)
        except BlobError as error:
            yield Unreadable(shard.key, str(error))
            continue
        yield from map(_OfShard, stored_samples(path))
        if path.is_relative_to(copies):
            path.unlink()
