"""WebDataset tars: members of one name are one sample, ``.png`` beside ``.cls`` and ``.txt``."""

from __future__ import annotations

import contextlib
import itertools
import json
from collections import deque
from collections.abc import Generator, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from braceexpand import braceexpand

from atoll.blobs import open_store
from atoll.errors import DataError
from partition.images import decode_colour
from partition.sources.folder import IMAGE_SUFFIXES, readable_kinds
from partition.sources.origins import Origins
from partition.sources.sample import Pending, Sample, Unreadable
from partition.sources.stream import ReadAhead
from partition.sources.tars import LINK, Members

TARS = (".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tar.xz")
_SIDE_FILES = frozenset({"cls", "txt", "json", ""})  # tell of an image, or of the whole tar
_SCHEMES = frozenset({"http", "https", "s3"})
_OPEN_AT_ONCE = 2  # tars: one is read while the next begins to arrive


class WebDatasetSource:
    """Samples of tars, tar by tar.

    A sample is one image with, by any of them, ``.cls`` (a class number), ``.txt`` (a caption) and
    ``.json`` (``label``, ``caption``). Any other file without an image of its name is an unreadable
    sample, and so is what img2dataset tells of a download that failed; hidden files are passed
    over.

    Args:
        pattern: a tar, a folder of tars, or names with braces, such as ``shard-{000..007}.tar``;
            compressed by gzip, bzip2, xz or not at all. Each may be a URL of ``http``, ``https`` or
            ``s3``, and is then streamed; a folder only in S3.

    Raises:
        DataError: a tar does not exist, as far as that is seen without asking for every URL.
        BadInput: S3 cannot be used here.
    """

    class_names: tuple[str, ...] = ()

    def __init__(self, pattern: str) -> None:
        self._tars = list(_found(pattern))
        for tar in self._tars:
            if not _is_url(tar) and not Path(tar).is_file():
                raise DataError(f"data.path: {tar} does not exist")

    def __iter__(self) -> Iterator[Unreadable | Pending]:
        """See :class:`~partition.sources.sample.Source`."""
        with contextlib.closing(_opened_ahead(self._tars)) as opened:
            for tar, place in opened:
                yield from samples_of(tar, place)


def _found(pattern: str) -> Iterable[str]:
    if _is_url(pattern):
        if urlsplit(pattern).scheme == "s3" and not pattern.endswith(TARS):
            below = [key for key in open_store(pattern).list("") if key.endswith(TARS)]
            if not below:
                raise DataError(f"data.path: no .tar files lie below {pattern}")
            return (f"{pattern.rstrip('/')}/{key}" for key in below)
        return _expanded(pattern)
    path = Path(pattern)
    if not path.is_dir():
        return _expanded(pattern)
    tars = sorted(tar for tar in path.rglob("*") if tar.name.endswith(TARS))
    if not tars:
        raise DataError(f"data.path: {path} holds no .tar files")
    return map(str, tars)


def _is_url(tar: str) -> bool:
    return urlsplit(tar).scheme in _SCHEMES


def _expanded(pattern: str) -> Iterable[str]:
    try:
        return list(braceexpand(pattern))
    except ValueError as error:
        raise DataError(
            f"data.path: {pattern} has a brace without its other half; write shard-{{000..007}}.tar"
        ) from error


def _opened_ahead(tars: Iterable[str]) -> Generator[tuple[str, Path | ReadAhead], None, None]:
    """Each tar in turn, while the next one has begun to arrive."""
    origins, waiting = Origins(), iter(tars)
    begun: deque[tuple[str, Path | ReadAhead]] = deque()
    try:
        while True:
            for tar in itertools.islice(waiting, _OPEN_AT_ONCE - len(begun)):
                place = ReadAhead(tar, origins.of(tar)) if _is_url(tar) else Path(tar)
                begun.append((tar, place))
            if not begun:
                return
            yield begun[0]
            _close(begun.popleft()[1])
    finally:
        for _, place in begun:
            _close(place)


def _close(place: Path | ReadAhead) -> None:
    if isinstance(place, ReadAhead):
        place.close()


def samples_of(tar: str, place: Path | ReadAhead) -> Iterator[Unreadable | Pending]:
    """The samples of one tar.

    Args:
        tar: path or URL, for names.
        place: where its bytes are.

    Raises:
        DataError: a stream is not what its checksum says.
    """
    members = Members(place)
    name = Path(urlsplit(tar).path if _is_url(tar) else tar).name
    for key, group in itertools.groupby(members, key=lambda member: member[0]):
        parts = {suffix: data for _, suffix, data in group}
        # Of the last sample before a cut nobody knows what is missing.
        if members.broken is None and _is_sample(parts):
            yield _Group(f"{name}/{key}", parts)
    if members.broken is not None:
        yield Unreadable(tar, members.broken)


def _is_sample(parts: Mapping[str, bytes | None]) -> bool:
    """Whether files of one name are more than side files, or those of a download that failed."""
    return not _SIDE_FILES.issuperset(parts) or "status" in _about(parts)


@dataclass(frozen=True, slots=True)
class _Group(Pending):
    """The files of one name: their bytes by suffix."""

    name: str
    parts: Mapping[str, bytes | None]

    def read(self) -> Sample | Unreadable:
        """See :class:`Pending`."""
        return _sample(self.name, self.parts)


def _sample(name: str, members: Mapping[str, bytes | None]) -> Sample | Unreadable:
    parts = {suffix: data for suffix, data in members.items() if data is not LINK}
    if astray := sorted(members.keys() - parts.keys()):
        return Unreadable(name, f"its .{astray[0]} is a link to no file of the tar")
    suffix = next((suffix for suffix in parts if f".{suffix}" in IMAGE_SUFFIXES), None)
    if suffix is None:
        return Unreadable(name, _why_no_image(parts))
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


def _why_no_image(parts: Mapping[str, bytes | None]) -> str:
    about = _about(parts)
    if "status" in about:
        told = [str(about[key]) for key in ("status", "error_message") if about.get(key)]
        return f"it has no image ({', '.join(told)})"
    held = ", ".join(f".{suffix}" for suffix in sorted(parts))
    return f"it holds {held}, and none of {readable_kinds()}"


def _about(parts: Mapping[str, bytes | None]) -> dict[str, Any]:
    """What the .json of a sample says; nothing where it cannot be read."""
    with contextlib.suppress(ValueError):
        about = json.loads(parts.get("json") or b"{}")
        if isinstance(about, dict):
            return about
    return {}
