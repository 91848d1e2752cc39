"""Image files in folders: one folder for each class, or one folder of images with captions."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from atoll.errors import DataError
from partition.images import decode_colour
from partition.sources.sample import Sample, Unreadable

IMAGE_SUFFIXES = frozenset({".png", ".jpg", ".jpeg", ".webp"})
# Images to people, of kinds that are not read: never passed over in silence.
_OTHER_IMAGE_SUFFIXES = frozenset(
    {".avif", ".bmp", ".gif", ".heic", ".heif", ".jfif", ".jp2", ".ppm", ".svg", ".tif", ".tiff"}
)


class FolderSource:
    """Images below a folder, in the order of their names.

    Sub-folders are classes, whatever lies below them belongs to them; without sub-folders the
    images have no labels. A file of the same name that ends in ``.txt`` is an image's caption.
    Images of other kinds than :data:`IMAGE_SUFFIXES` count as unreadable; hidden files and those
    that are no images are passed over.

    Args:
        path: the folder.

    Raises:
        DataError: there is no such folder, or images lie beside class folders.
    """

    def __init__(self, path: Path) -> None:
        if not path.is_dir():
            problem = "is not a folder" if path.exists() else "does not exist"
            raise DataError(f"data.path: {path} {problem}")
        self._path = path
        self._classes = sorted(p for p in path.iterdir() if p.is_dir() and _is_visible(p))
        loose = next((p for p in path.iterdir() if _is_image(p)), None)
        if self._classes and loose is not None:
            raise DataError(
                f"{path} holds both class folders and images ({loose.name}); move the images into "
                "a class, or the folders away"
            )
        self.class_names = tuple(p.name for p in self._classes)

    def __iter__(self) -> Iterator[Sample | Unreadable]:
        """See :class:`~partition.sources.sample.Source`."""
        if not self._classes:
            yield from self._below(self._path, None)
        for label, folder in enumerate(self._classes):
            yield from self._below(folder, label)

    def _below(self, folder: Path, label: int | None) -> Iterator[Sample | Unreadable]:
        for path in sorted(folder.iterdir()):
            if path.is_dir() and _is_visible(path):
                yield from self._below(path, label)
            elif _is_image(path):
                yield self._read(path, label)

    def _read(self, path: Path, label: int | None) -> Sample | Unreadable:
        if path.suffix.lower() not in IMAGE_SUFFIXES:
            return Unreadable(str(path), f"its kind is not read, only {readable_kinds()} are")
        text = path.with_suffix(".txt")
        try:
            image = decode_colour(path.read_bytes())
            caption = text.read_text(encoding="utf-8").strip() if text.exists() else None
        except (DataError, OSError) as error:
            return Unreadable(str(path), str(error))
        except UnicodeDecodeError:
            return Unreadable(str(path), f"its caption {text.name} is not UTF-8")
        return Sample(path.relative_to(self._path).as_posix(), image, label, caption)


def readable_kinds() -> str:
    """The suffixes of images that are read, for a sentence."""
    return ", ".join(sorted(IMAGE_SUFFIXES))


def _is_visible(path: Path) -> bool:
    return not path.name.startswith(".")


def _is_image(path: Path) -> bool:
    kinds = IMAGE_SUFFIXES | _OTHER_IMAGE_SUFFIXES
    return path.suffix.lower() in kinds and _is_visible(path) and path.is_file()
