"""Small tars of images for tests."""

from __future__ import annotations

import io
import tarfile
from pathlib import Path

import numpy as np
from PIL import Image

GENERATOR = np.random.default_rng(0)


def image(height: int = 6, width: int = 6) -> np.ndarray:
    return GENERATOR.integers(0, 256, (height, width, 3), np.uint8)


def png(pixels: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "png")
    return buffer.getvalue()


def write_tar(path: Path, members: dict[str, bytes], compression: str = "") -> None:
    with tarfile.open(path, f"w:{compression}") as tar:
        for name, data in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))


def tar_members(num: int, first: int = 0) -> dict[str, bytes]:
    members: dict[str, bytes] = {}
    for i in range(first, first + num):
        members[f"{i:04d}.png"] = png(image())
        members[f"{i:04d}.cls"] = str(i % 3).encode()
        members[f"{i:04d}.txt"] = f"number {i}".encode()
    return members


def zero_header(path: Path, name: str) -> None:
    """Lose the header of one file of a tar, as where a disk was not written to everywhere."""
    with tarfile.open(path) as tar:
        at = tar.getmember(name).offset
    with path.open("r+b") as file:
        file.seek(at)
        file.write(bytes(tarfile.BLOCKSIZE))
