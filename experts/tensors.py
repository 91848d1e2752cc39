"""Tensors in files, read one by one when they are asked for."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from safetensors import safe_open
from torch import Tensor


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
