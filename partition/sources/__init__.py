"""Data sources: where samples come from, one file for each kind."""

from __future__ import annotations

from pathlib import Path

from atoll.errors import DataError
from atoll.passwords import hidden
from atoll.sections import DataSection
from partition.sources.digits import DigitsSource
from partition.sources.folder import FolderSource
from partition.sources.npz import NpzSource
from partition.sources.sample import Pending, Sample, Source, Unreadable
from partition.sources.webdataset import WebDatasetSource

__all__ = ["Pending", "Sample", "Source", "Unreadable", "open_source"]


def open_source(data: DataSection) -> Source:
    """The source a configuration names.

    Raises:
        DataError: it cannot be opened; says which key to mend.
    """
    if data.source == "digits":
        return DigitsSource()
    if data.path is None:
        raise DataError(f"data.path is missing; data.source = {data.source!r} needs to know where")
    if data.source == "npz":
        return NpzSource(Path(data.path), data)
    if data.source == "folder":
        if "://" in data.path:
            raise DataError(
                f"data.path = {hidden(data.path)!r} is no folder of this machine; tars are read "
                'from afar: data.source = "webdataset"'
            )
        return FolderSource(Path(data.path))
    return WebDatasetSource(data.path)
