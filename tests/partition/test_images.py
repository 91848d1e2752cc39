import io

import numpy as np
import pytest
from PIL import Image

from atoll.errors import DataError
from partition.images import centre_square, decode_colour, decode_png, encode_png

PATTERN = np.random.default_rng(0).integers(0, 256, (5, 7, 3), np.uint8)


def png(image: Image.Image, **options: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, "png", **options)
    return buffer.getvalue()


@pytest.mark.parametrize("channels", [1, 3])
def test_png_round_trip_is_exact(channels: int) -> None:
    image = PATTERN[..., :channels]
    assert np.array_equal(decode_png(encode_png(image)), image)


def test_decode_grey_repeats_it() -> None:
    decoded = decode_colour(png(Image.fromarray(PATTERN[..., 0])))
    assert np.array_equal(decoded, np.repeat(PATTERN[..., :1], 3, -1))


def test_decode_palette_gives_its_colours() -> None:
    flat = Image.new("RGB", (4, 3), (10, 200, 30)).convert("P", palette=Image.Palette.ADAPTIVE)
    assert (decode_colour(png(flat)) == (10, 200, 30)).all()


def test_decode_transparent_lies_on_white() -> None:
    clear = Image.new("RGBA", (4, 3), (0, 0, 0, 0))
    assert (decode_colour(png(clear)) == 255).all()
    palette = Image.new("P", (4, 3), 0)
    palette.putpalette([10, 20, 30])
    assert (decode_colour(png(palette, transparency=0)) == 255).all()


def test_decode_sixteen_bit_grey_is_scaled() -> None:
    levels = np.array([[0, 257, 65535, 32896]], np.uint16)
    decoded = decode_colour(png(Image.fromarray(levels)))
    assert decoded[0, :, 0].tolist() == [0, 1, 255, 128]


def test_decode_bilevel_is_black_and_white() -> None:
    decoded = decode_colour(png(Image.new("1", (2, 2), 1)))
    assert (decoded == 255).all()


def test_decode_turned_photo_is_turned_back() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # the camera lay on its side
    buffer = io.BytesIO()
    Image.fromarray(PATTERN).save(buffer, "jpeg", exif=exif)
    assert decode_colour(buffer.getvalue()).shape == (7, 5, 3)


def test_decode_thirty_two_bit_is_refused() -> None:
    buffer = io.BytesIO()
    Image.new("F", (2, 2)).save(buffer, "tiff")
    with pytest.raises(DataError, match="32 bits a pixel"):
        decode_colour(buffer.getvalue())


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "empty"),
        (b"hello", "not an image"),
        (png(Image.fromarray(PATTERN))[:60], "cannot be decoded"),
    ],
)
def test_decode_broken_bytes_says_why(data: bytes, reason: str) -> None:
    with pytest.raises(DataError, match=reason):
        decode_colour(data)


def test_centre_square_takes_the_middle() -> None:
    image = np.zeros((4, 8, 1), np.uint8)
    image[:, 2:6] = 200
    assert (centre_square(image, 4) == 200).all()
    assert centre_square(image, 2).shape == (2, 2, 1)
    assert centre_square(PATTERN, 16).shape == (16, 16, 3)
