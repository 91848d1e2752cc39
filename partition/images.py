"""Image files in and out of arrays."""

from __future__ import annotations

import io
import struct

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps, UnidentifiedImageError

from atoll.errors import DataError

_TRANSPARENT = {"RGBA", "LA", "PA", "La", "RGBa"}
_SIXTEEN_BIT = {"I;16", "I;16B", "I;16L", "I;16N"}


def decode_colour(data: bytes) -> NDArray[np.uint8]:
    """An image file of any common kind as colour.

    Grey is repeated to three channels, palettes and CMYK are converted, transparent pixels lie on
    white, 16-bit grey is scaled to 8 bits, and a camera's orientation mark is obeyed.

    Returns:
        (H, W, 3), uint8.

    Raises:
        DataError: the bytes are no image that can be read; says why.
    """
    if not data:
        raise DataError("it is empty")
    try:
        with Image.open(io.BytesIO(data)) as image:
            return np.asarray(_as_rgb(ImageOps.exif_transpose(image)))
    except UnidentifiedImageError as error:
        raise DataError("it is not an image") from error
    except (
        OSError,
        SyntaxError,  # how Pillow says that a PNG is broken
        ValueError,
        EOFError,
        struct.error,
        Image.DecompressionBombError,
    ) as error:
        raise DataError(f"it cannot be decoded ({error})") from error


def encode_png(image: NDArray[np.uint8]) -> bytes:
    """An image (H, W, 1 or 3) uint8 as a PNG file, without loss."""
    buffer = io.BytesIO()
    Image.fromarray(_drop_grey_axis(image)).save(buffer, "png")
    return buffer.getvalue()


def decode_png(data: bytes) -> NDArray[np.uint8]:
    """What :func:`encode_png` was given: (H, W, 1 or 3), uint8."""
    with Image.open(io.BytesIO(data)) as image:
        pixels = np.asarray(image)
    return pixels if pixels.ndim == 3 else pixels[..., None]


def centre_square(image: NDArray[np.uint8], size: int) -> NDArray[np.uint8]:
    """The largest centred square of an image, resized.

    Args:
        image: (H, W, 1 or 3), uint8.
        size: side of the result, pixels.

    Returns:
        (size, size, C), uint8.
    """
    if image.shape[:2] == (size, size):
        return image
    whole = Image.fromarray(_drop_grey_axis(image))
    fitted = np.asarray(ImageOps.fit(whole, (size, size), Image.Resampling.BICUBIC))
    return fitted.reshape(size, size, -1)


def _as_rgb(image: Image.Image) -> Image.Image:
    if image.mode in _SIXTEEN_BIT:
        levels = np.asarray(image).astype(np.float32) / 257
        return Image.fromarray(np.rint(levels).astype(np.uint8)).convert("RGB")
    if image.mode in {"I", "F"}:
        raise DataError("it has 32 bits a pixel; convert it to 8")
    if image.mode in _TRANSPARENT or "transparency" in image.info:
        above = image.convert("RGBA")
        white = Image.new("RGBA", image.size, "white")
        return Image.alpha_composite(white, above).convert("RGB")
    return image.convert("RGB")


def _drop_grey_axis(image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    return image[..., 0] if image.shape[2] == 1 else image
