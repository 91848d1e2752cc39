"""WebDataset tars: members of one name are one sample, ``.png`` beside ``.cls`` and ``.txt``."""

from __future__ import annotations

import itertools
import json
import lzma
import tarfile
import zlib
from collections.abc import Iterator
from pathlib import Path

from braceexpand import braceexpand

from atoll.errors import DataError
from partition.images import decode_colour
from partition.sources.folder import IMAGE_SUFFIXES, readable_kinds
from partition.sources.sample import Sample, Unreadable

_END_OF_TAR = bytes(tarfile.BLOCKSIZE)
_TARS = (".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tar.xz")
_SIDE_FILES = frozenset({"cls", "txt", "json", ""})  # tell of an image, or of the whole tar


class WebDatasetSource:
    """Samples of tars, tar by tar.

    A sample is one image with, by any of them, ``.cls`` (a class number), ``.txt`` (a caption) and
    ``.json`` (``label``, ``caption``). Any other file without an image of its name is an unreadable
    sample; hidden files are passed over.

    Args:
        pattern: a tar, a folder of tars, or names with braces, such as ``shard-{000..007}.tar``;
            compressed by gzip, bzip2, xz or not at all.

    Raises:
        DataError: a tar does not exist.
    """

    class_names: tuple[str, ...] = ()

    def __init__(self, pattern: str) -> None:
        path = Path(pattern)
        if path.is_dir():
            self._tars = sorted(tar for tar in path.rglob("*") if tar.name.endswith(_TARS))
            if not self._tars:
                raise DataError(f"data.path: {path} holds no .tar files")
        else:
            self._tars = [Path(name) for name in _expanded(pattern)]
        for tar in self._tars:
            if not tar.is_file():
                raise DataError(f"data.path: {tar} does not exist")

    def __iter__(self) -> Iterator[Sample | Unreadable]:
        """See :class:`~partition.sources.sample.Source`."""
        for path in self._tars:
            yield from _samples(path)


def _expanded(pattern: str) -> list[str]:
    try:
        return list(braceexpand(pattern))
    except ValueError as error:
        raise DataError(
            f"data.path: {pattern} has a brace without its other half; write shard-{{000..007}}.tar"
        ) from error


def _samples(path: Path) -> Iterator[Sample | Unreadable]:
    members = _Members(path)
    for key, group in itertools.groupby(members, key=lambda member: member[0]):
        parts = {suffix: data for _, suffix, data in group}
        # Of the last sample before a cut nobody knows what is missing.
        if members.broken is None and not _SIDE_FILES.issuperset(parts):
            yield _sample(f"{path.name}/{key}", parts)
    if members.broken is not None:
        yield Unreadable(str(path), members.broken)


class _Members:
    """The files of one tar as (key, suffix, bytes), up to its end or the first broken place.

    A link to nothing in the tar has None for its bytes.

    Attributes:
        broken: why the tar could not be read to its end, None if it could.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self.broken: str | None = None

    def __iter__(self) -> Iterator[tuple[str, str, bytes | None]]:
        try:
            with tarfile.open(self._path) as tar:
                for info in tar:
                    folder, slash, name = info.name.rpartition("/")
                    stem, _, suffix = name.partition(".")
                    if stem and (info.isreg() or info.islnk() or info.issym()):
                        yield f"{folder}{slash}{stem}", suffix.lower(), _content(tar, info)
                # To tarfile a cut between two members is no error.
                if not _ends_with_mark(tar):
                    self.broken = "it is cut off: the mark at the end of a tar is missing"
        except (tarfile.TarError, OSError, EOFError, zlib.error, lzma.LZMAError) as error:
            self.broken = "it is cut off, damaged, or compressed in an unknown way"
            if not isinstance(error, tarfile.ReadError):  # which lists every way it was tried
                self.broken += f" ({' '.join(str(error).split())})"


def _content(tar: tarfile.TarFile, info: tarfile.TarInfo) -> bytes | None:
    """The bytes of a file or of what a link leads to; None for a link that leads to no file."""
    try:
        file = tar.extractfile(info)
    except (KeyError, RecursionError):  # nowhere, or back to itself
        return None
    return None if file is None else file.read()


def _sample(name: str, members: dict[str, bytes | None]) -> Sample | Unreadable:
    parts = {suffix: data for suffix, data in members.items() if data is not None}
    if astray := sorted(members.keys() - parts.keys()):
        return Unreadable(name, f"its .{astray[0]} is a link to no file of the tar")
    suffix = next((suffix for suffix in parts if f".{suffix}" in IMAGE_SUFFIXES), None)
    if suffix is None:
        held = ", ".join(f".{suffix}" for suffix in sorted(parts))
        return Unreadable(name, f"it holds {held}, and none of {readable_kinds()}")
    try:
        about = json.loads(parts.get("json", b"{}"))
        label = int(parts["cls"]) if "cls" in parts else about.get("label")
        caption = parts["txt"].decode().strip() if "txt" in parts else about.get("caption")
        image = decode_colour(parts[suffix])
    except DataError as error:
        return Unreadable(name, str(error))
    except (ValueError, AttributeError):
        return Unreadable(name, "its .cls, .txt or .json cannot be read")
    if not isinstance(label, int | None) or not isinstance(caption, str | None):
        return Unreadable(name, "its .json has a label that is no integer or a caption no text")
    return Sample(name, image, label, caption)


def _ends_with_mark(tar: tarfile.TarFile) -> bool:
    """Whether a block of zeros follows the last member of a tar that was read to its end."""
    assert tar.fileobj is not None
    tar.fileobj.seek(tar.offset)
    return tar.fileobj.read(len(_END_OF_TAR)) == _END_OF_TAR
