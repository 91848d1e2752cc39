"""The files of one tar, from a disk or as they arrive."""

from __future__ import annotations

import lzma
import tarfile
import zlib
from collections.abc import Container, Iterator
from enum import Enum
from pathlib import Path
from typing import Any, Self

from partition.sources.origins import Unavailable
from partition.sources.stream import ReadAhead

_ZEROS = bytes(tarfile.BLOCKSIZE)
# Blocks that hold the name of the file after them, or more about it, and are read whole.
_NAMING = {
    *(tarfile.XHDTYPE, tarfile.XGLTYPE, tarfile.SOLARIS_XHDTYPE),
    *(tarfile.GNUTYPE_LONGNAME, tarfile.GNUTYPE_LONGLINK),
}
_MOST_NAMING_BYTES = 1 << 20
_MOST_BYTES = 1 << 29  # of a file that is read: more than the largest image that is taken


class Absent(Enum):
    """What stands in place of a file's bytes.

    Each is the end of a sentence that begins with the file.
    """

    LINK = "is a link to no file of the tar"
    TOO_LARGE = f"has more than {_MOST_BYTES >> 20} MiB"


Content = bytes | Absent


class Members:
    """The files of one tar as (key, suffix, bytes), up to its end or the first broken place.

    Memory is that of one file: what came before is forgotten. (Where there are links, the names of
    all files are kept, to follow them.) Hidden files are passed over, and of files that nobody
    reads there are no bytes. A link to nothing in the tar has :attr:`Absent.LINK` for its bytes; so
    has any link in a stream, which does not go back.

    Args:
        place: a file, or a stream.
        read: suffixes, in small letters and without the dot, of the files that are read.

    Attributes:
        broken: why the tar could not be read to its end, None if it could.
    """

    def __init__(self, place: Path | ReadAhead, read: Container[str]) -> None:
        self._place, self._read = place, read
        self._whole: tarfile.TarFile | None = None
        self.broken: str | None = None

    def __iter__(self) -> Iterator[tuple[str, str, Content]]:
        """Raises: DataError, where a stream is not what its checksum says."""
        begun = False
        try:
            with self._opened() as tar:
                begun = True
                while (info := tar.next()) is not None:
                    tar.members.clear()  # else it would keep all it has seen
                    folder, slash, name = info.name.rpartition("/")
                    stem, _, suffix = name.partition(".")
                    if stem and (info.isreg() or info.islnk() or info.issym()):
                        suffix = suffix.lower()
                        content = self._content(tar, info) if suffix in self._read else b""
                        yield f"{folder}{slash}{stem}", suffix, content
                # To tarfile a cut between two members is no error.
                if not tar.has_end:
                    self.broken = (
                        "it is cut off or damaged: the mark at the end of a tar is missing"
                    )
            if isinstance(self._place, ReadAhead):
                self._place.drain()
        except Unavailable as error:
            self.broken = f"it cannot be read to its end: {error.reason}"
        except (tarfile.TarError, OSError, EOFError, zlib.error, lzma.LZMAError) as error:
            self.broken = (
                "it is cut off, damaged, or compressed in an unknown way"
                if begun
                else "it is no tar, or cut off, or compressed in an unknown way"
            )
            if not isinstance(error, tarfile.ReadError):  # which lists every way it was tried
                self.broken += f" ({' '.join(str(error).split())})"
        finally:
            if self._whole is not None:
                self._whole.close()

    def _opened(self) -> _Tar:
        if isinstance(self._place, ReadAhead):
            return _Tar.open(fileobj=self._place, mode="r|*", tarinfo=_Header)
        return _Tar.open(self._place, tarinfo=_Header)

    def _content(self, tar: tarfile.TarFile, info: tarfile.TarInfo) -> Content:
        if info.isreg():
            if info.size > _MOST_BYTES:
                return Absent.TOO_LARGE
            file = tar.extractfile(info)
            assert file is not None
            return file.read()
        return self._followed(info.name) if isinstance(self._place, Path) else Absent.LINK

    def _followed(self, name: str) -> Content:
        """What a link of a tar leads to, looked for in the whole of it."""
        assert isinstance(self._place, Path)
        if self._whole is None:
            self._whole = _Tar.open(self._place, tarinfo=_Header)  # closed with the other one
        try:
            file = self._whole.extractfile(name)
        except (KeyError, RecursionError):  # nowhere, or back to itself
            return Absent.LINK
        if file is None:
            return Absent.LINK
        found = file.read(_MOST_BYTES + 1)
        return found if len(found) <= _MOST_BYTES else Absent.TOO_LARGE


class _Tar(tarfile.TarFile):
    """A tar that remembers whether the mark at its end was met: two blocks of zeros.

    One alone ends the reading as well, but it is a header that was lost.
    """

    has_end = False
    members: list[tarfile.TarInfo]


class _Header(tarfile.TarInfo):
    """A header that ends its tar where what belongs to it, a long name say, is no name any more."""

    def _proc_member(self, tarfile_: Any) -> Any:
        if self.type in _NAMING and self.size > _MOST_NAMING_BYTES:
            raise tarfile.TarError("a header is too large")
        return super()._proc_member(tarfile_)  # type: ignore[misc] # not in typeshed

    @classmethod
    def fromtarfile(cls, tarfile_: Any) -> Self:
        try:
            return super().fromtarfile(tarfile_)
        except tarfile.EOFHeaderError:  # type: ignore[attr-defined] # not in typeshed
            tarfile_.has_end = tarfile_.fileobj.read(tarfile.BLOCKSIZE) == _ZEROS
            raise
