"""Image files in and out of arrays."""

from __future__ import annotations

import functools
import io
import struct
import warnings
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageCms, ImageOps, UnidentifiedImageError

from atoll.errors import DataError
from atoll.image_size import MAX_PIXELS

_TRANSPARENT = {"RGBA", "LA", "PA", "La", "RGBa"}
_SIXTEEN_BIT = {"I;16", "I;16B", "I;16L", "I;16N"}
_PNG = b"\x89PNG\r\n\x1a\n"
_DEPTH, _KIND = slice(24, 25), slice(25, 26)  # bits of a channel, kind of colours
# All that is opened: Pillow would start another program for the EPS that bears such a name.
_FORMATS = ("PNG", "JPEG", "WEBP")
_ORIENTATION = 0x0112  # in a camera's EXIF
_UPRIGHT = {  # by that mark; 1 is upright already
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


def decode_colour(data: bytes) -> NDArray[np.uint8]:
    """A PNG, JPEG or WebP file as colour.

    Grey is repeated to three channels, palettes are converted, and so is CMYK: by its own profile,
    if it has one. Transparent pixels lie on white, 16-bit grey is scaled to 8 bits, and a camera's
    orientation mark is obeyed.

    Returns:
        (H, W, 3), uint8.

    Raises:
        DataError: the bytes are no image that can be read, or one of which only a part would be:
            a film, 16-bit colour, more pixels than ``MAX_PIXELS``; says why.
    """
    if not data:
        raise DataError("it is empty")
    if data.startswith(_PNG) and data[_DEPTH] == b"\x10" and data[_KIND] != b"\0":
        raise DataError("it has 16 bits for each colour, of which 8 would be lost; convert it to 8")
    try:
        # What Pillow warns of, at fewer pixels than it refuses, is told below in the house's words.
        with (
            warnings.catch_warnings(action="ignore", category=Image.DecompressionBombWarning),
            Image.open(io.BytesIO(data), formats=_FORMATS) as image,
        ):
            _refuse_film_and_bomb(image)
            return np.asarray(_as_rgb(_upright(image)))
    except UnidentifiedImageError as error:
        raise DataError("it is not an image of kind PNG, JPEG or WebP") from error
    except Image.DecompressionBombError as error:
        raise DataError(f"it has far more pixels than {MAX_PIXELS:,}; scale it down") from error
    except (
        OSError,
        SyntaxError,  # how Pillow says that a PNG is broken
        ValueError,
        EOFError,
        struct.error,
        ImageCms.PyCMSError,
    ) as error:
        raise DataError(f"it cannot be decoded ({error})") from error


def encode_png(image: NDArray[np.uint8]) -> bytes:
    """An image (H, W, 1 or 3) uint8 as a PNG file, without loss."""
    buffer = io.BytesIO()
    Image.fromarray(_drop_grey_axis(image)).save(buffer, "png")
    return buffer.getvalue()


def decode_png(data: bytes) -> NDArray[np.uint8]:
    """What :func:`encode_png` was given: (H, W, 1 or 3), uint8."""
    with Image.open(io.BytesIO(data), formats=("PNG",)) as image:
        pixels = np.asarray(image)
    return pixels if pixels.ndim == 3 else pixels[..., None]


def cropped(image: NDArray[np.uint8], size: tuple[int, int], place: float) -> NDArray[np.uint8]:
    """One of the largest parts of an image that have the proportions of a size, brought to it.

    Args:
        image: (H, W, 1 or 3), uint8.
        size: height and width of the result, pixels.
        place: of the part along the side that is too long, 0 at its beginning, 1 at its end.

    Returns:
        (height, width, C), uint8; the image itself if that is of the size.
    """
    return _brought_to(image, size, functools.partial(ImageOps.fit, centering=(place, place)))


def squeezed(image: NDArray[np.uint8], size: tuple[int, int]) -> NDArray[np.uint8]:
    """A whole image brought to a size, whatever becomes of its proportions; as :func:`cropped`."""
    return _brought_to(image, size, Image.Image.resize)


def padded(image: NDArray[np.uint8], size: tuple[int, int]) -> NDArray[np.uint8]:
    """A whole image brought to a size in its proportions, between white; as :func:`cropped`."""
    return _brought_to(image, size, functools.partial(ImageOps.pad, color="white"))


def _brought_to(
    image: NDArray[np.uint8], size: tuple[int, int], resized: Callable[..., Image.Image]
) -> NDArray[np.uint8]:
    if image.shape[:2] == size:
        return image
    height, width = size
    whole = Image.fromarray(_drop_grey_axis(image))
    made = resized(whole, (width, height), Image.Resampling.BICUBIC)
    return np.asarray(made).reshape(height, width, -1)


def _upright(image: Image.Image) -> Image.Image:
    """As its camera was held. The rest of its EXIF, which may hold anything, is not looked at."""
    turn = _UPRIGHT.get(image.getexif().get(_ORIENTATION, 1))
    return image if turn is None else image.transpose(turn)


def _refuse_film_and_bomb(image: Image.Image) -> None:
    if image.width * image.height > MAX_PIXELS:
        raise DataError(
            f"it has {image.width:,} x {image.height:,} pixels, more than {MAX_PIXELS:,}; "
            "scale it down"
        )
    # The further pictures of an MPO are no film: cameras keep previews and the like there.
    frames = 1 if image.format == "MPO" else getattr(image, "n_frames", 1)
    if frames > 1:
        raise DataError(f"it is a film of {frames} frames; take the one that is meant out of it")


def _as_rgb(image: Image.Image) -> Image.Image:
    if image.mode in _SIXTEEN_BIT:
        levels = np.asarray(image).astype(np.float32) / 257
        return Image.fromarray(np.rint(levels).astype(np.uint8)).convert("RGB")
    if image.mode in _TRANSPARENT or "transparency" in image.info:
        above = image.convert("RGBA")
        white = Image.new("RGBA", image.size, "white")
        return Image.alpha_composite(white, above).convert("RGB")
    if image.mode == "CMYK" and (profile := image.info.get("icc_profile")):
        return _by_profile(image, profile)
    return image.convert("RGB")


def _by_profile(image: Image.Image, profile: bytes) -> Image.Image:
    """An image in sRGB by the profile that says what its inks look like."""
    converted = ImageCms.profileToProfile(
        image, io.BytesIO(profile), ImageCms.createProfile("sRGB"), outputMode="RGB"
    )
    assert converted is not None
    return converted


def _drop_grey_axis(image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    return image[..., 0] if image.shape[2] == 1 else image
