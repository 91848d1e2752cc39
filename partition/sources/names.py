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
            folders.append(np.array([entry.is_dir() for entry in chunk]))
    every, is_folder = np.concatenate(names), np.concatenate(folders)
    for place in np.argsort(every, kind="stable"):
        yield os.fsdecode(bytes(every[place])), bool(is_folder[place])
