"""Arrays in an ``.npz`` file, read row by row without unpacking the whole."""

from __future__ import annotations

import zipfile
import zlib
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.lib import format as npy
from numpy.typing import NDArray

from atoll.errors import DataError
from atoll.sections import DataSection
from partition.sources.sample import Sample

_CHUNK_ROWS = 256
_UNREADABLE = (zipfile.BadZipFile, zlib.error, ValueError, EOFError, OSError)
_CLASS_NAMES = "classes"
# What an array holds, by the key that names it: kinds of numpy's, and in words.
_TOLD_IN = {
    "labels": ("iu", "class numbers, integers"),
    "captions": ("U", "text"),
    "exclude": ("b", "boolean marks"),
}
_DEFAULT_LABELS = DataSection.model_fields["labels"].default


class NpzSource:
    """Images, and where there are any labels, captions and marks of what to leave out.

    An array called ``classes`` names the classes by number.

    Args:
        path: the file.
        data: names of its arrays; labels under their default name may be absent.

    Raises:
        DataError: the file or an array cannot be used.
    """

    def __init__(self, path: Path, data: DataSection) -> None:
        self._path = path
        self._exclude = data.exclude
        with self._opened() as archive:
            self._arrays = {Path(name).stem for name in archive.namelist()}
        self._images = self._checked_images(data.images)
        num = self._header(self._images, "images")[0][0]
        labels = data.labels
        if labels == _DEFAULT_LABELS and labels not in self._arrays:
            labels = None
        self._labels = labels and self._checked("labels", labels, num)
        self._captions = data.captions and self._checked("captions", data.captions, num)
        for name in data.exclude:
            self._checked("exclude", name, num)
        self.class_names = self._read_class_names() if self._labels else ()

    def __iter__(self) -> Iterator[Sample]:
        """See :class:`~partition.sources.sample.Source`."""
        with ExitStack() as stack:
            archive = stack.enter_context(self._opened())
            images = self._rows(archive, self._images)
            labels = self._rows(archive, self._labels) if self._labels else None
            captions = self._rows(archive, self._captions) if self._captions else None
            marks = [self._rows(archive, name) for name in self._exclude]
            for index, image in enumerate(images):
                label = int(next(labels)) if labels else None
                caption = str(next(captions)) if captions else None
                left_out = [bool(next(mark)) for mark in marks]
                if not any(left_out):
                    yield Sample(f"{self._images}[{index}]", _pixels(image), label, caption)

    def _checked_images(self, name: str) -> str:
        shape, dtype = self._header(name, "images")
        if dtype != np.uint8:
            raise DataError(f"data.images: {self._named(name)} is {dtype}; images must be uint8")
        if len(shape) not in {3, 4, 5} or (len(shape) > 3 and shape[-1] not in {1, 3}):
            raise DataError(
                f"data.images: {self._named(name)} has shape {shape}; images must be (N, H, W), "
                "(N, H, W, 1) or (N, H, W, 3), and videos (N, T, H, W, 1) or (N, T, H, W, 3)"
            )
        return name

    def _checked(self, key: str, name: str, num: int) -> str:
        shape, dtype = self._header(name, key)
        kinds, wanted = _TOLD_IN[key]
        if dtype.kind not in kinds or shape != (num,):
            raise DataError(
                f"data.{key}: {self._named(name)} is {dtype} of shape {shape}; it must hold "
                f"{wanted}, one for each of the {num} images"
            )
        return name

    def _read_class_names(self) -> tuple[str, ...]:
        if _CLASS_NAMES not in self._arrays:
            return ()
        shape, dtype = self._header(_CLASS_NAMES, "labels")
        if dtype.kind != "U" or len(shape) != 1:
            raise DataError(
                f"{self._named(_CLASS_NAMES)} is {dtype} of shape {shape}; class names must be a "
                "list of texts"
            )
        with self._opened() as archive:
            return tuple(str(name) for name in self._rows(archive, _CLASS_NAMES))

    def _opened(self) -> zipfile.ZipFile:
        try:
            return zipfile.ZipFile(self._path)
        except FileNotFoundError as error:
            raise DataError(f"data.path: {self._path} does not exist") from error
        except IsADirectoryError as error:
            raise DataError(
                f'data.path: {self._path} is a folder; set data.source to "folder", or name a file'
            ) from error
        except (OSError, zipfile.BadZipFile) as error:
            raise DataError(f"data.path: {self._path} is not an .npz file ({error})") from error

    def _header(self, name: str, key: str) -> tuple[tuple[int, ...], np.dtype[np.generic]]:
        if name not in self._arrays:
            raise DataError(
                f"data.{key}: {self._path} has no array {name!r}; it has "
                f"{', '.join(sorted(self._arrays))}: name one of those"
            )
        with self._opened() as archive, self._member(archive, name) as file:
            return self._read_header(file, name)

    def _member(self, archive: zipfile.ZipFile, name: str) -> IO[bytes]:
        try:
            return archive.open(f"{name}.npy")
        except (*_UNREADABLE, KeyError, NotImplementedError, RuntimeError) as error:
            raise DataError(f"{self._named(name)} cannot be read: {error}") from error

    def _read_header(
        self, file: IO[bytes], name: str
    ) -> tuple[tuple[int, ...], np.dtype[np.generic]]:
        try:
            version = npy.read_magic(file)
            read = npy.read_array_header_1_0 if version[0] == 1 else npy.read_array_header_2_0
            shape, fortran, dtype = read(file)
        except _UNREADABLE as error:
            raise DataError(f"{self._named(name)} cannot be read: {error}") from error
        if dtype.hasobject:
            raise DataError(
                f"{self._named(name)} holds pickled objects, which are not read; save it with a "
                "plain dtype, text as dtype=str"
            )
        if fortran and len(shape) > 1:
            raise DataError(
                f"{self._named(name)} is stored by columns; save np.ascontiguousarray of it"
            )
        return tuple(shape), dtype

    def _rows(self, archive: zipfile.ZipFile, name: str) -> Iterator[NDArray[np.generic]]:
        with self._member(archive, name) as file:
            shape, dtype = self._read_header(file, name)
            row_bytes = dtype.itemsize * int(np.prod(shape[1:]))
            for first in range(0, shape[0], _CHUNK_ROWS):
                num = min(_CHUNK_ROWS, shape[0] - first)
                try:
                    data = file.read(num * row_bytes)
                    chunk = np.frombuffer(data, dtype).reshape(num, *shape[1:])
                except _UNREADABLE as error:
                    raise DataError(f"{self._named(name)} cannot be read: {error}") from error
                yield from chunk

    def _named(self, name: str) -> str:
        return f"array {name!r} of {self._path}"


def _pixels(image: NDArray[Any]) -> NDArray[np.uint8]:
    """An image as (H, W, C), and a video, (T, H, W, C), with its frames one below the other."""
    stacked = image.reshape(-1, *image.shape[2:]) if image.ndim == 4 else image
    return stacked.reshape(*stacked.shape[:2], -1).astype(np.uint8)
