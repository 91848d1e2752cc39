"""In which form samples are stored for those that learn from them: as pixels or encoded."""

from __future__ import annotations

import io
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from partition.images import decode_png
from partition.manifest import Partition, Shard


@dataclass(frozen=True, slots=True)
class Form:
    """What the tars of a partition hold of each sample.

    Attributes:
        shapes: of an image as it is stored, for each bucket.
        dtype: of it.
        decode: from the bytes of its file.
        shards: of a cluster, each sample one such file and a JSON.
        text_shape: of an encoded caption; None where there is none.
        texts: tars of a cluster's encoded captions, one file each; () where there are none.
        has_captions: whether samples carry captions.
    """

    shapes: tuple[tuple[int, ...], ...]
    dtype: DTypeLike
    decode: Callable[[bytes], NDArray[Any]]
    shards: Callable[[int], tuple[Shard, ...]]
    text_shape: tuple[int, ...] | None
    texts: Callable[[int], tuple[Shard, ...]]
    has_captions: bool

    @classmethod
    def of(cls, partition: Partition, *, pixels: bool) -> Form:
        """The form in which networks see a partition's samples, or the images themselves."""
        grey_or_colour = partition.shape[2:]
        shapes: list[tuple[int, ...]] = [size + grey_or_colour for size in partition.sizes]
        dtype: DTypeLike = np.uint8
        decode: Callable[[bytes], NDArray[Any]] = decode_png
        latents, texts = partition.latents, partition.texts
        if latents is not None and not pixels:
            halves, variants = 2 if latents.kind == "moments" else 1, (2,) * latents.mirrored
            shapes = [
                (*variants, channels * halves, *sides) for channels, *sides in partition.shapes
            ]
            dtype, decode = np.float16, read_array
        text_shape: tuple[int, ...] | None = None
        if texts is not None:
            text_shape = (texts.tokens, texts.dims) if texts.tokens else (texts.dims,)
        return cls(
            shapes=tuple(shapes),
            dtype=dtype,
            decode=decode,
            shards=lambda cluster: (
                partition.shard_sets[cluster].shards
                if latents is None or pixels
                else latents.shards[cluster]
            ),
            text_shape=text_shape,
            texts=lambda cluster: () if texts is None else texts.shards[cluster],
            has_captions=partition.has_captions,
        )

    def row_bytes(self, bucket: int) -> int:
        """Memory that a sample of a bucket takes when it is read."""
        text_bytes = 2 * int(np.prod(self.text_shape)) if self.text_shape is not None else 0
        return int(np.prod(self.shapes[bucket])) * np.dtype(self.dtype).itemsize + text_bytes


def write_array(array: NDArray[np.float16]) -> bytes:
    """An array as an ``.npy`` file."""
    buffer = io.BytesIO()
    np.save(buffer, array, allow_pickle=False)
    return buffer.getvalue()


def read_array(data: bytes) -> NDArray[np.float16]:
    """What :func:`write_array` was given.

    Raises:
        ValueError: it is no such file.
    """
    array: NDArray[np.float16] = np.load(io.BytesIO(data), allow_pickle=False)
    return array
