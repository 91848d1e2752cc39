"""Sizes are read as they are written."""

import pytest

from atoll.errors import BadInput
from atoll.image_size import size_in, size_name


@pytest.mark.parametrize(
    "text",
    [
        "",
        "64",
        "64x",
        "64X48",
        "0x8",
        "-8x8",
        "64x48x3",
        "6.4x48",
        "6\u0664x48",
        "64x48\n",
        "064x48",
    ],
)
def test_size_is_read_as_it_is_written_and_nothing_else_is(text):
    assert size_name(size_in("64x48")) == "64x48"
    with pytest.raises(BadInput, match="is no size; give WIDTHxHEIGHT in pixels"):
        size_in(text)
