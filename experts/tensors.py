"""Tensors in several files, read one by one when they are asked for."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from safetensors import safe_open
from torch import Tensor

_FILES = 8  # at most, of one state
_LEAST_BYTES = 16 << 20  # of each but the last


class StoredTensors(Mapping[str, Tensor]):
    """The tensors of some safetensors files whose names begin alike, without that beginning.

    Several processes of a machine that read the same files share their pages, and each keeps only
    what it takes out of them.

    Args:
        paths: the files; they must stay as they are.
        prefix: of the names.
    """

    def __init__(self, paths: Iterable[Path], prefix: str = "") -> None:
        self._prefix = prefix
        self._files: dict[str, Any] = {}
        for path in paths:
            file: Any = safe_open(path, framework="pt")
            names = [name for name in file.keys() if name.startswith(prefix)]  # noqa: SIM118
            self._files |= {name.removeprefix(prefix): file for name in names}

    def __getitem__(self, name: str) -> Tensor:
        tensor: Tensor = self._files[name].get_tensor(f"{self._prefix}{name}")
        return tensor

    def __iter__(self) -> Iterator[str]:
        return iter(self._files)

    def __len__(self) -> int:
        return len(self._files)


def file_numbers(tensors: Mapping[str, Tensor]) -> dict[str, int]:
    """In which file each tensor goes, from 1, in their order.

    Who writes a safetensors file has all of it in memory once more, so that a large state goes into
    several.

    Args:
        tensors: by name.
    """
    room = size = max(_LEAST_BYTES, sum(each.nbytes for each in tensors.values()) // _FILES)
    number, found = 1, {}
    for name, tensor in tensors.items():
        if room <= 0:
            number, room = number + 1, size
        found[name] = number
        room -= tensor.nbytes
    return found
