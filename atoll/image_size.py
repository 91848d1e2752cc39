"""Sizes of images as people write them: WIDTHxHEIGHT in pixels."""

from __future__ import annotations

import re

from atoll.errors import BadInput

MAX_PIXELS = 100_000_000  # of an image: 300 MB once it is decoded
Size = tuple[int, int]  # width and height of an image, pixels

_NAME = re.compile(r"([1-9][0-9]{0,5})x([1-9][0-9]{0,5})")


def size_in(text: str) -> Size:
    """The size that somebody writes.

    Raises:
        BadInput: it is none.
    """
    match = _NAME.fullmatch(text)
    if match is None:
        raise BadInput(f"{text!r} is no size; give WIDTHxHEIGHT in pixels, such as 64x48")
    return int(match[1]), int(match[2])


def size_name(size: Size) -> str:
    """A size as people write it."""
    return "x".join(map(str, size))


def name_of(height: int, width: int) -> str:
    """The size of an image or a bucket, which code has by height and width, as people write it."""
    return size_name((width, height))
