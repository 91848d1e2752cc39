"""WebDataset tars: members of one name are one sample, ``.png`` beside ``.cls`` and ``.txt``."""

from __future__ import annotations

import contextlib
import itertools
import json
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping
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
from partition.sources.tars import Absent, Content, Members

TARS = (".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tar.xz")
# Names of texts that tell of a whole tar, as those do that end in _stats.
_OF_THE_TAR = frozenset({"readme", "license", "licence", "notice", "about", "info", "index"})
_READ = frozenset({"cls", "json", "txt", *(suffix[1:] for suffix in IMAGE_SUFFIXES)})
# What is told of an image: how it is read, and what it is.
_READ_AS: Mapping[str, Callable[[bytes], Any]] = {
    "cls": int,
    "txt": bytes.decode,
    "json": json.loads,
}
_TOLD_IN = {"cls": "class number", "txt": "text in UTF-8", "json": "JSON object"}
_SCHEMES = frozenset({"http", "https", "s3"})
_OPEN_AT_ONCE = 2  # tars: one is read while the next begins to arrive


class WebDatasetSource:
    """Samples of tars, tar by tar.

    A sample is one image with, by any of them, ``.cls`` (a class number), ``.txt`` (a caption) and
    ``.json`` (``label``, ``caption``), side by side. Files without an image of their name beside
    them are an unreadable sample, and so is what img2dataset tells of a download that failed.
    Hidden files are passed over, and those that tell of the whole tar: without a suffix, or texts
    such as ``readme.txt`` and ``00000_stats.json``. A sample is named by the path of its tar below
    the folder (or from where braces begin) and its own.

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
        self._root, tars = _found(pattern)
        self._tars = list(tars)
        for tar in self._tars:
            if not _is_url(tar) and not Path(tar).is_file():
                raise DataError(f"data.path: {tar} does not exist")

    def __iter__(self) -> Iterator[Unreadable | Pending]:
        """See :class:`~partition.sources.sample.Source`."""
        with contextlib.closing(_opened_ahead(self._tars)) as opened:
            for tar, place in opened:
                yield from samples_of(tar, tar.removeprefix(self._root), place)


def holds_tars(folder: Path) -> bool:
    """Whether there is any below a folder."""
    return any(each.name.endswith(TARS) for each in folder.rglob("*"))


def _found(pattern: str) -> tuple[str, Iterable[str]]:
    """Where the names of the tars of a pattern begin, by which samples are named, and the tars.

    That is behind the folder itself, or behind the last slash before the first brace: a tar that is
    added changes the name of no other.
    """
    if _is_url(pattern):
        if urlsplit(pattern).scheme == "s3" and not pattern.endswith(TARS):
            below = [key for key in open_store(pattern).list("") if key.endswith(TARS)]
            if not below:
                raise DataError(f"data.path: no .tar files lie below {pattern}")
            root = f"{pattern.rstrip('/')}/"
            return root, (f"{root}{key}" for key in below)
        return _before_braces(pattern), _expanded(pattern)
    path = Path(pattern)
    if not path.is_dir():
        return _before_braces(pattern), _expanded(pattern)
    tars = sorted(tar for tar in path.rglob("*") if tar.name.endswith(TARS))
    if not tars:
        raise DataError(f"data.path: {path} holds no .tar files")
    first = str(tars[0])
    return first.removesuffix(str(tars[0].relative_to(path))), map(str, tars)


def _before_braces(pattern: str) -> str:
    folder, slash, _ = pattern.partition("{")[0].rpartition("/")
    return folder + slash


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


def samples_of(tar: str, name: str, place: Path | ReadAhead) -> Iterator[Unreadable | Pending]:
    """The samples of one tar.

    Args:
        tar: path or URL, where it is told of as a whole.
        name: where its samples are.
        place: where its bytes are.

    Raises:
        DataError: a stream is not what its checksum says.
    """
    members = Members(place, _READ)
    for key, group in itertools.groupby(members, key=lambda member: member[0]):
        parts = {suffix: data for _, suffix, data in group}
        # Of the last sample before a cut nobody knows what is missing.
        if members.broken is None and _is_sample(key, parts):
            yield _Group(f"{name}/{key}", parts)
    if members.broken is not None:
        yield Unreadable(tar, members.broken)


def _is_sample(key: str, parts: Mapping[str, Content]) -> bool:
    """Whether files of one name are a sample, or what is left of one, and do not tell of the tar.

    A label without an image is one that stands apart from it, and would be lost in silence.
    """
    if "status" in _about(parts):  # of a download
        return True
    name = key.rpartition("/")[2].lower()
    tells_of_all = name in _OF_THE_TAR or name.endswith("_stats")
    return parts.keys() != {""} and not (tells_of_all and parts.keys() <= {"txt", "json", ""})


@dataclass(frozen=True, slots=True)
class _Group(Pending):
    """The files of one name: their bytes by suffix."""

    name: str
    parts: Mapping[str, Content]

    def read(self) -> Sample | Unreadable:
        """See :class:`Pending`."""
        return _sample(self.name, self.parts)


def _sample(name: str, members: Mapping[str, Content]) -> Sample | Unreadable:
    parts: dict[str, bytes] = {}
    for suffix, content in members.items():
        if isinstance(content, Absent):
            return Unreadable(name, f"its .{suffix} {content.value}")
        parts[suffix] = content
    image_suffix = next((suffix for suffix in parts if f".{suffix}" in IMAGE_SUFFIXES), None)
    if image_suffix is None:
        return Unreadable(name, _why_no_image(parts))
    try:
        label, caption = _told(parts)
        return Sample(name, decode_colour(parts[image_suffix]), label, caption)
    except DataError as error:
        return Unreadable(name, str(error))


def _told(parts: Mapping[str, bytes]) -> tuple[int | None, str | None]:
    """Label and caption beside an image. Raises: DataError, with the reason of an Unreadable."""
    told: dict[str, Any] = {}
    for suffix, read in _READ_AS.items():
        try:
            told |= {suffix: read(parts[suffix])} if suffix in parts else {}
        except (ValueError, RecursionError) as error:  # the last of brackets in brackets
            raise DataError(f"its .{suffix} is no {_TOLD_IN[suffix]}") from error
    about = told.get("json", {})
    if not isinstance(about, dict):
        raise DataError(f"its .json is no {_TOLD_IN['json']}")
    label, caption = told.get("cls", about.get("label")), told.get("txt", about.get("caption"))
    if not isinstance(label, int | None) or not isinstance(caption, str | None):
        raise DataError("its .json has a label that is no integer or a caption no text")
    return label, caption


def _why_no_image(parts: Mapping[str, Content]) -> str:
    about = _about(parts)
    if "status" in about:
        told = [str(about[key]) for key in ("status", "error_message") if about.get(key)]
        return f"it has no image ({', '.join(told)})"
    held = ", ".join(f".{suffix}" for suffix in sorted(parts))
    return f"it holds {held}, and none of {readable_kinds()} beside that"


def _about(parts: Mapping[str, Content]) -> dict[str, Any]:
    """What the .json of a sample says; nothing where it cannot be read."""
    with contextlib.suppress(ValueError, RecursionError):
        told = parts.get("json")
        about = json.loads(told) if isinstance(told, bytes) else {}
        if isinstance(about, dict):
            return about
    return {}
