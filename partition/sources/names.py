"""What lies in a folder, in the order of names, in little memory however much it is."""

from __future__ import annotations

import itertools
import os
from collections.abc import Callable, Iterator

import numpy as np

_CHUNK = 4096


def sorted_names(
    folder: str, is_wanted: Callable[[os.DirEntry[str]], bool]
) -> Iterator[tuple[str, bool]]:
    """Names in a folder and whether each is a folder, in the order of their bytes in UTF-8.

    A million names take the bytes of the longest each, and not an object each.

    Args:
        folder: its path.
        is_wanted: told of each entry; hidden ones are passed over before.

    Raises:
        OSError: it cannot be read.
    """
    names, folders = [np.empty(0, "S1")], [np.empty(0, np.bool_)]
    with os.scandir(folder) as entries:
        visible = (entry for entry in entries if not entry.name.startswith("."))
        wanted = filter(is_wanted, visible)
        while chunk := list(itertools.islice(wanted, _CHUNK)):
            names.append(np.array([os.fsencode(entry.name) for entry in chunk]))
            folders.append(np.array([is_folder(entry) for entry in chunk]))
    every, are_folders = np.concatenate(names), np.concatenate(folders)
    for place in np.argsort(every, kind="stable"):
        yield os.fsdecode(bytes(every[place])), bool(are_folders[place])


def is_folder(entry: os.DirEntry[str]) -> bool:
    """Whether it is one, or a link to one."""
    return not leads_nowhere(entry) and entry.is_dir()


def leads_nowhere(entry: os.DirEntry[str]) -> bool:
    """Whether it is a link to what is not there, or back to itself."""
    return entry.is_symlink() and not os.path.exists(entry.path)  # noqa: PTH110 - as above
