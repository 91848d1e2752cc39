"""Near-duplicates as the stage treats them: looked for, listed by name, and dropped if wanted.

The list, see :mod:`partition.listing`, tells of each such sample its ``index`` in the data set, its
``name``, the name of the sample it is most ``like`` of those that stand before it in
:func:`partition.duplicates.find_duplicates`, and the cosine of their features, ``similarity``.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from atoll import layout
from atoll.blobs import BlobStore
from atoll.command import Progress
from atoll.config import Config
from partition.listing import save_listing
from partition.manifest import DuplicateList
from partition.rowfile import RowFile
from partition.spool import Spooled

if TYPE_CHECKING:  # readers of a partition need no scikit-learn
    from partition.duplicates import Duplicates


class Treatment:
    """What is done about near-duplicates; takes note of their names as samples pass by.

    Args:
        found: those there are; None where nobody looked.
        num: samples in all.
        drop: whether to leave them out.
    """

    def __init__(self, found: Duplicates | None, num: int, *, drop: bool) -> None:
        self._found = found
        self._drop = drop
        self._is_duplicate = np.zeros(num, np.bool_)
        self._is_twin = np.zeros(num, np.bool_)
        if found is not None:
            self._is_duplicate[found.indices] = True
            self._is_twin[found.twins] = True
        self._names: dict[int, str] = {}

    def without_dropped(self, rows: RowFile, path: Path) -> RowFile:
        """Features of the samples that stay: the same file, or a new one at a path."""
        if not self._drop or not self._is_duplicate.any():
            return rows
        kept, first = RowFile(path, rows.width), 0
        for chunk in rows.chunks():
            kept.append(chunk[~self._is_duplicate[first : first + len(chunk)]])
            first += len(chunk)
        return kept

    def of_kept(self, each: NDArray[np.int32]) -> NDArray[np.int32]:
        """A number of each of all samples, (N,): those of the samples that stay."""
        return each[~self._is_duplicate] if self._drop else each

    def kept(self, samples: Iterable[Spooled]) -> Iterator[Spooled]:
        """The samples that stay, of all of them in their order."""
        for sample in samples:
            if self._is_duplicate[sample.index] or self._is_twin[sample.index]:
                self._names[sample.index] = sample.key
            if not (self._drop and self._is_duplicate[sample.index]):
                yield sample

    def save(self, store: BlobStore) -> DuplicateList | None:
        """Store the list, once all samples have passed by; None where nobody looked.

        Raises:
            StorageFull: the store has no space left.
        """
        if self._found is None:
            return None
        listing = save_listing(store, layout.duplicates, self._rows(self._found))
        return DuplicateList(**asdict(listing), dropped=self._drop)

    def _rows(self, found: Duplicates) -> Iterator[dict[str, Any]]:
        for index, twin, similarity in zip(
            found.indices.tolist(), found.twins.tolist(), found.similarities.tolist(), strict=True
        ):
            about = {"index": index, "name": self._names[index], "like": self._names[twin]}
            yield {**about, "similarity": round(similarity, 4)}


def look_for_duplicates(rows: RowFile, config: Config, progress: Progress) -> Treatment:
    """Near-duplicates among samples with these features, as ``partition.duplicates`` wants it."""
    section = config.partition
    if section.duplicates == "keep":
        return Treatment(None, len(rows), drop=False)
    from partition.duplicates import find_duplicates  # noqa: PLC0415 - as above

    progress("looking for duplicates", 0, None)
    found = find_duplicates(rows, section.duplicate_epsilon, config.run.seed)
    return Treatment(found, len(rows), drop=section.duplicates == "drop")
