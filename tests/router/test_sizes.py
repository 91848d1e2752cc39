"""Sizes are told in pixels, as width and height; networks see heights, widths, and latents."""

import dataclasses

import pytest

from atoll.errors import BadInput
from partition.manifest import Latents, Partition, Shard, ShardSet
from router.sizes import shape_at, sizes_of

SQUARE = Partition("p", 9, (64, 64, 3), (), False, None, "", "", ())
SHARDS = tuple(ShardSet(0, 3, (), (Shard("k", "d", 3, 1, bucket),)) for bucket in (0, 2, 1))
SEVERAL = dataclasses.replace(SQUARE, buckets=((64, 64), (48, 80), (80, 48)), shard_sets=SHARDS)
LATENTS = Latents("m", "moments", (4, 8, 8), 1.0, 0.0, mirrored=False, std=1.0, shards=())


def test_sizes_of_a_run_are_those_of_its_buckets_and_the_first_is_the_main_one():
    assert sizes_of(SQUARE) == {(64, 64): (3, 64, 64)}
    assert list(sizes_of(SEVERAL).items()) == [
        ((64, 64), (3, 64, 64)),
        ((80, 48), (3, 48, 80)),
        ((48, 80), (3, 80, 48)),
    ]


def test_sizes_of_latents_are_in_pixels_and_their_shapes_in_places():
    encoded = dataclasses.replace(SEVERAL, latents=LATENTS)
    assert (SEVERAL.factor, encoded.factor) == (1, 8)
    assert sizes_of(encoded)[80, 48] == (4, 6, 10)
    assert shape_at(encoded, (48, 80), "learned") == (4, 10, 6)


def test_main_size_is_no_other_shape_whatever_the_gate():
    assert shape_at(SEVERAL, (64, 64), "centroid") is None
    with pytest.raises(BadInput, match="compares pixels of images of 64x64 alone"):
        shape_at(SEVERAL, (80, 48), "centroid")


def test_size_that_no_image_has_is_refused_by_those_that_there_are():
    with pytest.raises(BadInput, match="no image of this run is 80x80; they are 64x64, 80x48, 48x"):
        shape_at(SEVERAL, (80, 80), "learned")


def test_size_that_no_sample_has_is_none_but_the_main_one_always_is():
    few = dataclasses.replace(SEVERAL, shard_sets=SHARDS[1:2])
    assert list(sizes_of(few)) == [(64, 64), (48, 80)]
    with pytest.raises(BadInput, match="no image of this run is 80x48; they are 64x64, 48x80"):
        shape_at(few, (80, 48), "learned")
