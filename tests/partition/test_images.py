import io
import itertools
import struct
import zlib

import numpy as np
import pytest
from PIL import Image, ImageOps

from atoll.errors import DataError
from partition.images import (
    cropped,
    decode_colour,
    decode_png,
    encode_png,
    padded,
    squeezed,
)

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


@pytest.mark.parametrize("mark", range(1, 9))
def test_decode_photo_held_in_any_way_is_turned_as_pillow_turns_it(mark: int) -> None:
    exif, buffer = Image.Exif(), io.BytesIO()
    exif[0x0112] = mark
    Image.fromarray(PATTERN).save(buffer, "png", exif=exif)
    with Image.open(buffer) as image:
        turned = np.asarray(ImageOps.exif_transpose(image))
    assert np.array_equal(decode_colour(buffer.getvalue()), turned)


def test_decode_turned_photo_with_a_resolution_in_letters_is_turned_back() -> None:
    buffer = io.BytesIO()
    # Two entries: the orientation, 6, and the horizontal resolution as text, where a ratio belongs.
    entries = struct.pack("<HHIHH", 0x0112, 3, 1, 6, 0) + struct.pack("<HHI4s", 0x011A, 2, 3, b"72")
    tiff = b"II*\0" + struct.pack("<IH", 8, 2) + entries + bytes(4)
    Image.fromarray(PATTERN).save(buffer, "jpeg", exif=b"Exif\0\0" + tiff)
    assert decode_colour(buffer.getvalue()).shape == (7, 5, 3)


@pytest.mark.parametrize("kind", ["bmp", "tiff", "eps", "gif"])
def test_decode_of_a_kind_that_is_not_read_is_refused_before_it_is_opened(
    monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    buffer = io.BytesIO()
    Image.fromarray(PATTERN).save(buffer, kind)
    started: list[object] = []
    monkeypatch.setattr("subprocess.Popen", lambda *program, **_: started.append(program))
    with pytest.raises(DataError, match="not an image of kind PNG, JPEG or WebP"):
        decode_colour(buffer.getvalue())
    assert not started


@pytest.mark.parametrize("kind", ["webp", "png"])
def test_decode_film_is_refused_with_its_frames(kind: str) -> None:
    frames = [Image.fromarray(np.roll(PATTERN, step, 0)) for step in range(3)]
    buffer = io.BytesIO()
    frames[0].save(buffer, kind, save_all=True, append_images=frames[1:])
    with pytest.raises(DataError, match="a film of 3 frames"):
        decode_colour(buffer.getvalue())


def test_decode_camera_photo_with_a_preview_behind_it_is_read() -> None:
    photo, buffer = Image.fromarray(PATTERN), io.BytesIO()
    photo.save(buffer, "mpo", save_all=True, append_images=[photo.resize((3, 2))])
    alone = io.BytesIO()
    photo.save(alone, "jpeg")
    assert np.array_equal(decode_colour(buffer.getvalue()), decode_colour(alone.getvalue()))


def chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def bare_png(width: int, height: int, depth: int, colours: int, rows: bytes = b"") -> bytes:
    """A PNG that Pillow does not write."""
    header = struct.pack(">IIBBBBB", width, height, depth, colours, 0, 0, 0)
    parts = ((b"IHDR", header), (b"IDAT", zlib.compress(rows)), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunk(*part) for part in parts)


@pytest.mark.parametrize(("colours", "channels"), [(2, 3), (4, 2), (6, 4)])
def test_decode_sixteen_bit_colour_is_refused(colours: int, channels: int) -> None:
    rows = b"\0" + bytes(2 * 2 * channels)
    with pytest.raises(DataError, match="it has 16 bits for each colour"):
        decode_colour(bare_png(2, 1, 16, colours, rows))
    assert decode_colour(bare_png(2, 1, 8, 2, b"\0" + bytes(2 * 3))).shape == (1, 2, 3)


@pytest.mark.parametrize(
    ("side", "words"), [(10_001, "10,001 x 10,001 pixels, more than 100,000,000"), (20_000, "far")]
)
def test_decode_enormous_image_is_refused_before_it_is_unpacked(side: int, words: str) -> None:
    with pytest.raises(DataError, match=words):
        decode_colour(bare_png(side, side, 8, 2))


def profile_of(corners: dict[tuple[int, ...], tuple[int, int, int]]) -> bytes:
    """A profile of CMYK: the colour (8-bit L, a, b) of each full ink alone, in between linear.

    Source: ICC.1:2001-04, sections 6.1 (header), 6.2 (table of tags), 6.5.8 (lut8Type).
    """
    straight = bytes(range(256))
    grid = [bytes(corners[c, m, y, k]) for c, m, y, k in itertools.product((0, 1), repeat=4)]
    identity = struct.pack(">9i", *(65536 * (i % 4 == 0) for i in range(9)))
    table = b"mft1" + bytes(4) + bytes((4, 3, 2, 0)) + identity
    table += 4 * straight + b"".join(grid) + 3 * straight
    table += bytes(-len(table) % 4)
    offset = 128 + 4 + 12
    header = struct.pack(
        ">I4sI4s4s4s", offset + len(table), b"lcms", 0x02400000, b"prtr", b"CMYK", b"Lab "
    )
    header += bytes(12) + b"acsp" + bytes(28) + struct.pack(">3i", 0xF6D6, 0x10000, 0xD32D)
    header += bytes(128 - len(header))
    return header + struct.pack(">I4sII", 1, b"A2B0", offset, len(table)) + table


def test_decode_cmyk_obeys_its_profile() -> None:
    inks = itertools.product((0, 1), repeat=4)
    # On this paper cyan is a middle grey, black is black, and magenta and yellow are not seen.
    levels = {(0, 0): 255, (1, 0): 128, (0, 1): 0, (1, 1): 0}
    profile = profile_of({each: (levels[each[0], each[3]], 128, 128) for each in inks})
    flat = Image.new("CMYK", (2, 2), (255, 0, 0, 0))
    plain, proofed = io.BytesIO(), io.BytesIO()
    flat.save(plain, "jpeg", quality=100)
    flat.save(proofed, "jpeg", quality=100, icc_profile=profile)
    assert np.abs(decode_colour(plain.getvalue()).astype(int) - (0, 255, 255)).max() <= 2
    grey = decode_colour(proofed.getvalue()).astype(int)
    assert np.abs(grey - 119).max() <= 3  # L = 50.2 in sRGB


def test_decode_cmyk_with_a_broken_profile_says_so() -> None:
    buffer = io.BytesIO()
    Image.new("CMYK", (2, 2)).save(buffer, "jpeg", icc_profile=b"no profile")
    with pytest.raises(DataError, match=r"cannot be decoded \(.*profile"):
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


def test_cropped_to_a_square_takes_the_middle() -> None:
    image = np.zeros((4, 8, 1), np.uint8)
    image[:, 2:6] = 200
    assert (cropped(image, (4, 4), 0.5) == 200).all()
    assert cropped(image, (2, 2), 0.5).shape == (2, 2, 1)
    assert cropped(PATTERN, (16, 16), 0.5).shape == (16, 16, 3)


def test_cropped_at_a_place_lies_there_along_the_longer_side() -> None:
    wide = np.repeat(np.arange(0, 60, 10, dtype=np.uint8)[None, :, None], 2, axis=0)
    at = {place: cropped(wide, (2, 2), place)[0, :, 0].tolist() for place in (0.0, 0.5, 1.0)}
    assert at == {0.0: [0, 10], 0.5: [20, 30], 1.0: [40, 50]}
    tall = wide.transpose(1, 0, 2)
    assert cropped(tall, (2, 2), 1.0)[:, 0, 0].tolist() == [40, 50]


def test_cropped_to_a_rectangle_cuts_the_side_that_has_room() -> None:
    image = np.arange(6 * 6, dtype=np.uint8).reshape(6, 6, 1)
    for place, rows in {0.0: slice(0, 4), 0.5: slice(1, 5), 1.0: slice(2, 6)}.items():
        assert np.array_equal(cropped(image, (4, 6), place), image[rows])
        assert np.array_equal(cropped(image, (6, 4), place), image[:, rows])
    assert cropped(image, (6, 6), 0.0) is image


def test_squeezed_and_padded_keep_the_whole_picture() -> None:
    halves = np.zeros((4, 8, 3), np.uint8)
    halves[:, 4:] = 200
    square = squeezed(halves, (4, 4))
    assert (square[:, 0] < 10).all()
    assert (square[:, 3] > 190).all()
    small = padded(halves[:, 4:].repeat(2, axis=1), (4, 4))  # of 8 by 4 pixels: 4 by 2 of it
    assert (small[[0, 3]] == 255).all()
    assert (small[1:3] == 200).all()
    for made in (squeezed, padded):
        assert made(halves, (4, 8)) is halves
