"""A PNG carries the recipe it was drawn by."""

from dataclasses import replace

import numpy as np
import pytest
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from atoll.errors import BadInput, DataError
from router.recipe import Recipe, read_recipe, save_png

RECIPE = Recipe(
    seed=7,
    condition="Löwe & Zebra",
    solver="heun",
    steps=12,
    guidance=2.5,
    strategy="top-2",
    gate="learned",
    checkpoints={"expert-0": "ab", "router": "cd"},
    ema_length=0.13,
)


@pytest.mark.parametrize("channels", [1, 3])
def test_recipe_saved_in_an_image_is_read_back_and_so_are_the_pixels(tmp_path, channels):
    image = np.random.default_rng(0).integers(0, 256, (5, 4, channels), np.uint8)

    save_png(tmp_path / "image.png", image, RECIPE)

    assert read_recipe(tmp_path / "image.png") == RECIPE
    with Image.open(tmp_path / "image.png") as saved:
        assert np.array_equal(np.asarray(saved).reshape(image.shape), image)


def test_image_without_a_recipe_says_so(tmp_path):
    save_png(tmp_path / "image.png", np.zeros((2, 2, 3), np.uint8))

    with pytest.raises(DataError, match="carries no recipe"):
        read_recipe(tmp_path / "image.png")


def test_file_that_is_no_image_says_so(tmp_path):
    (tmp_path / "image.png").write_text("no")

    with pytest.raises(DataError, match="cannot be read as an image"):
        read_recipe(tmp_path / "image.png")
    with pytest.raises(DataError, match=r"none\.png cannot be read as an image: No such file"):
        read_recipe(tmp_path / "none.png")


def test_recipe_of_another_version_says_so(tmp_path):
    about = PngInfo()
    about.add_text("atoll", '{"seed": 3}')
    Image.new("L", (2, 2)).save(tmp_path / "image.png", pnginfo=about)

    with pytest.raises(DataError, match="carries a recipe that this version cannot read"):
        read_recipe(tmp_path / "image.png")


def test_recipe_refuses_other_checkpoints_by_name():
    RECIPE.refuse_others({"router": "cd", "expert-0": "ab"})

    with pytest.raises(
        BadInput, match="other checkpoints than this run's newest: expert-1, router;"
    ):
        RECIPE.refuse_others({"router": "ce", "expert-0": "ab", "expert-1": "x"})


def test_recipe_of_an_image_for_which_something_was_reused_is_drawn_by_its_service_alone():
    recipe = replace(RECIPE, reused="blocks 2")
    with pytest.raises(BadInput, match="by a service that reuses blocks 2, and `atoll sample`"):
        recipe.refuse_others(recipe.checkpoints)
