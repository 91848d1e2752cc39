"""Image files in folders: one folder for each class, or one folder of images with captions."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from atoll.command import say
from atoll.errors import DataError
from partition.images import decode_colour
from partition.sources.names import is_folder, leads_nowhere, sorted_names
from partition.sources.sample import Pending, Sample, Unreadable

IMAGE_SUFFIXES = frozenset({".png", ".jpg", ".jpeg", ".webp"})
# Images to people, of kinds that are not read: never passed over in silence.
_OTHER_IMAGE_SUFFIXES = frozenset(
    {".avif", ".bmp", ".gif", ".heic", ".heif", ".jfif", ".jp2", ".ppm", ".svg", ".tif", ".tiff"}
)
_ALL_SUFFIXES = IMAGE_SUFFIXES | _OTHER_IMAGE_SUFFIXES
# Of files that tell of images, or of a whole folder, and are none themselves.
_SIDE_SUFFIXES = frozenset(
    {".cls", ".csv", ".json", ".jsonl", ".md", ".npy", ".parquet", ".txt", ".yaml", ".yml"}
)
_STATS = "_stats.json"  # img2dataset writes one beside each folder it has filled


class FolderSource:
    """Images below a folder, in the order of their names.

    Sub-folders are classes, whatever lies below them belongs to them; without sub-folders the
    images have no labels, and neither have they in those that img2dataset made. A file of the same
    name that ends in ``.txt`` is an image's caption; without, one that ends in ``.json`` may have a
    ``caption``. Images of other kinds than
    :data:`IMAGE_SUFFIXES` count as unreadable, and so do links that lead nowhere and may once have
    led to images or a folder of them; hidden files and those that are no images are passed over.

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
        folders, astray, loose, stats = [], [], None, False
        with os.scandir(path) as entries:
            for entry in entries:
                if _is_astray(entry):
                    astray.append(entry.name)
                elif _is_image(entry):
                    loose = loose or entry.name
                elif is_folder(entry) and not entry.name.startswith("."):
                    folders.append(entry.name)
                else:
                    stats = stats or entry.name.endswith(_STATS)
        if folders and loose is not None:
            raise DataError(
                f"{path} holds both class folders and images ({loose}); move the images into "
                "a class, or the folders away"
            )
        # A folder without an image is no class.
        self.class_names = tuple(
            name
            for name in ([] if stats else sorted(folders))
            if next(self._below(f"{name}/", None, frozenset()), None) is not None
        )
        self._astray = sorted(astray)
        if empty := sorted(set(folders) - set(self.class_names)) if self.class_names else []:
            say(f"no image is below {', '.join(empty)} in {path}: that makes no class")

    def __iter__(self) -> Iterator[Pending]:
        """See :class:`~partition.sources.sample.Source`."""
        if not self.class_names:
            yield from self._below("", None, frozenset())
            return
        for name in self._astray:  # which may have been classes
            yield _File(str(self._path), name, None)
        for label, folder in enumerate(self.class_names):
            yield from self._below(f"{folder}/", label, frozenset())

    def _below(
        self, folder: str, label: int | None, above: frozenset[tuple[int, int]]
    ) -> Iterator[Pending]:
        """All images below a folder, named from the source's own on: "", or with a slash.

        A link back to one of the folders above is not followed: what it leads to is being read.
        """
        about = (self._path / folder).stat()
        itself = (about.st_dev, about.st_ino)
        if itself in above:
            return
        entries = sorted_names(
            str(self._path / folder),
            lambda entry: is_folder(entry) or _is_image(entry) or _is_astray(entry),
        )
        for name, below in entries:
            if below:
                yield from self._below(f"{folder}{name}/", label, above | {itself})
            else:
                yield _File(str(self._path), f"{folder}{name}", label)


@dataclass(frozen=True, slots=True)
class _File(Pending):
    """An image file, with its caption beside it."""

    root: str
    key: str
    label: int | None

    def read(self) -> Sample | Unreadable:
        """See :class:`Pending`."""
        path = Path(self.root, self.key)
        if path.is_symlink() and not path.exists():
            return Unreadable(str(path), "it is a link that leads nowhere")
        if path.suffix.lower() not in IMAGE_SUFFIXES:
            return Unreadable(str(path), f"its kind is not read, only {readable_kinds()} are")
        text, about, caption = path.with_suffix(".txt"), path.with_suffix(".json"), None
        try:
            image = decode_colour(path.read_bytes())
            if os.path.lexists(text):
                caption = text.read_text(encoding="utf-8")
            elif os.path.lexists(about):
                caption = _caption_in(about.read_bytes())
        except (DataError, OSError) as error:
            return Unreadable(str(path), str(error))
        except UnicodeDecodeError:
            return Unreadable(str(path), f"its caption {text.name} is not UTF-8")
        return Sample(self.key, image, self.label, caption)


def _caption_in(data: bytes) -> str | None:
    """The caption in a ``.json``, which may be about something else.

    Raises:
        DataError: it cannot be read, or the caption is no text; the end of a sentence.
    """
    try:
        about = json.loads(data)
    except (ValueError, RecursionError) as error:  # the last of brackets in brackets
        raise DataError("its .json cannot be read") from error
    caption = about.get("caption") if isinstance(about, dict) else None
    if not isinstance(caption, str | None):
        raise DataError("its .json has a caption that is no text")
    return caption


def readable_kinds() -> str:
    """The suffixes of images that are read, for a sentence."""
    return ", ".join(sorted(IMAGE_SUFFIXES))


def _is_image(entry: os.DirEntry[str]) -> bool:
    if _suffix(entry) not in _ALL_SUFFIXES or entry.name.startswith("."):
        return False
    return not leads_nowhere(entry) and entry.is_file()


def _is_astray(entry: os.DirEntry[str]) -> bool:
    """Whether it is a link that leads nowhere, and may have led to an image or a folder of them."""
    if _suffix(entry) in _SIDE_SUFFIXES or entry.name.startswith("."):
        return False
    return leads_nowhere(entry)


def _suffix(entry: os.DirEntry[str]) -> str:
    return os.path.splitext(entry.name)[1].lower()  # noqa: PTH122 - no object for each file
