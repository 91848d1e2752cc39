"""``atoll sample`` draws from a trained run, and says in a line what it cannot do."""

import json
import resource
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from atoll.__main__ import main
from atoll.config_file import save_config
from atoll.sections import SamplingSection
from router.cli import _below
from router.recipe import read_recipe, save_png
from tests.trained_run import with_sizes


@pytest.fixture
def sample(trained, tmp_path, capsys):
    """Runs the command on the trained run; returns exit code, standard output and error."""
    keys = [
        f"{section}.{key}={json.dumps(value)}"
        for section, values in trained.config.model_dump(exclude_defaults=True).items()
        for key, value in values.items()
    ]
    settings = [flag for key in keys for flag in ("--set", key)]

    def run(*arguments):
        try:
            main(["sample", *settings, *arguments])
        except SystemExit as leaving:
            code = leaving.code or 0
        captured = capsys.readouterr()
        return code, captured.out, captured.err

    save_config(trained.store, trained.config)
    return run


@pytest.fixture
def of_several_sizes(trained):
    """The run's partition tells of wide images as well."""
    with_sizes(trained, (8, 8), (4, 16))


def test_sample_writes_a_grid_and_images_with_their_recipes(sample, trained):
    code, out, err = sample("--num", "3", "--class", "7", "--seed", "5", "--json")

    rows = json.loads(out)
    assert code == 0
    assert [row["seed"] for row in rows] == [5, 6, 7]
    recipe = read_recipe(rows[1]["image"])
    assert (recipe.seed, recipe.condition, recipe.strategy) == (6, "7", "top-1")
    assert (recipe.steps, recipe.gate) == (3, "learned")
    assert recipe.checkpoints.keys() == {"expert-0", "expert-1", "router"}
    folder = trained.folder / "run" / "local" / "samples" / "top-1-7"
    assert str(folder / "grid.png") in err
    with Image.open(folder / "grid.png") as grid:
        gap = (96 + 18) // 16
        assert grid.size == (96 + gap + 96, 114 + gap + 114)


def test_sample_leaves_what_was_asked_otherwise_in_a_folder_of_its_own(sample, trained):
    folder = trained.folder / "run" / "local" / "samples"
    for asked in ([], ["--class", "7"], ["--class", "7", "--class", "3"]):
        _, out, _ = sample("--num", "1", "--json", *asked)
        images = [Path(row["image"]) for row in json.loads(out)]
        others = {path for path in images[0].parent.iterdir() if path.name != "grid.png"}
        assert others == set(images)
    assert {path.name[:9] for path in folder.iterdir()} == {"top-1", "top-1-7", "top-1-7-3"}


def test_folders_of_what_was_asked_are_told_apart_where_their_names_do_not():
    sampling, moon = SamplingSection(ema_length=0.05), "a dog, running for as long as it takes, "
    asked = [["cat"], ["cat", "dog"], ["cat dog"], [f"{moon}now"], [f"{moon}then"], ["a/b"]]
    names = [_below(sampling, "8x8", each) for each in asked]
    assert names[0] == "top-1-8x8-ema-0.05-cat"
    assert len(set(names)) == len(asked)


def test_sample_drawn_before_is_found_and_its_sheet_laid_anew(sample, trained):
    sample("--num", "3", "--class", "7")
    folder = trained.folder / "run" / "local" / "samples" / "top-1-7"
    sheet = (folder / "grid.png").read_bytes()
    before = {path: path.stat().st_mtime_ns for path in folder.glob("0*.png")}
    (folder / "grid.png").unlink()

    code, _, err = sample("--num", "3", "--class", "7")

    assert code == 0
    assert err.startswith("already drawn: 3 images by top-1")
    assert {path: path.stat().st_mtime_ns for path in folder.glob("0*.png")} == before
    assert (folder / "grid.png").read_bytes() == sheet


def test_sample_of_which_one_was_lost_or_changed_is_drawn(sample, trained):
    sample("--num", "2", "--class", "7")
    folder = trained.folder / "run" / "local" / "samples" / "top-1-7"
    (folder / "000001-7.png").write_bytes(b"no image")

    _, _, err = sample("--num", "2", "--class", "7")

    assert "already drawn" not in err
    assert read_recipe(folder / "000001-7.png").seed == 1


def test_sample_of_one_recipe_gives_the_image_it_gave_among_others(sample, tmp_path):
    sample("--num", "4", "--class", "3", "--out", str(tmp_path / "four"))
    sample("--num", "1", "--class", "3", "--seed", "2", "--out", str(tmp_path / "one"))

    with (
        Image.open(tmp_path / "four" / "000002-3.png") as among,
        Image.open(tmp_path / "one" / "000002-3.png") as alone,
    ):
        difference = np.asarray(among).astype(int) - np.asarray(alone)
    assert abs(difference).max() <= 1  # a value on the edge between two levels


def pixels(path):
    with Image.open(path) as image:
        return np.asarray(image).astype(int)


def test_sample_like_an_image_draws_it_again_to_the_bit(sample, tmp_path):
    recipe = ["sampling.solver=heun", "sampling.strategy=ancestral", "sampling.guidance=2.5"]
    chosen = [flag for key in recipe for flag in ("--set", key)]
    once = ["--num", "1", "--class", "3", "--seed", "9", *chosen]
    sample(*once, "--out", str(tmp_path / "once"))

    code, out, err = sample(
        "--like",
        str(tmp_path / "once" / "000009-3.png"),
        "--out",
        str(tmp_path / "again"),
        "--json",
    )

    assert code == 0, err
    (row,) = json.loads(out)
    assert (row["seed"], row["condition"]) == (9, "3")
    assert np.array_equal(pixels(row["image"]), pixels(tmp_path / "once" / "000009-3.png"))
    assert read_recipe(row["image"]) == read_recipe(tmp_path / "once" / "000009-3.png")


def test_sample_like_an_image_of_another_run_names_what_differs(sample, tmp_path):
    sample("--num", "1", "--class", "3", "--out", str(tmp_path))
    path = tmp_path / "000000-3.png"
    recipe = read_recipe(path)
    others = {**recipe.checkpoints, "expert-1": "0" * 64}
    save_png(path, np.zeros((8, 8, 1), np.uint8), replace(recipe, checkpoints=others))

    code, out, err = sample("--like", str(path))

    assert (code, out) == (2, "")
    assert "other checkpoints than this run's newest: expert-1;" in err
    assert err.count("\n") == 1


@pytest.mark.parametrize(
    "other", [["--num", "1"], ["--seed", "0"], ["--class", "3"], ["--size", "8x8"]]
)
def test_sample_like_an_image_takes_nothing_else_to_draw(sample, other):
    code, _, err = sample("--like", "image.png", *other)

    assert code == 2
    assert "leave out --class, --prompt, --seed, --size and --num" in err


def test_sample_of_a_size_has_it_and_its_recipe_draws_it_again(sample, of_several_sizes, trained):
    code, out, err = sample("--num", "2", "--class", "3", "--size", "16x4", "--json")

    assert code == 0, err
    first, second = json.loads(out)
    assert read_recipe(second["image"]).size == "16x4"
    assert pixels(second["image"]).shape == (4, 16)
    folder = trained.folder / "run" / "local" / "samples" / "top-1-16x4-3"
    assert str(folder / "grid.png") in err
    assert not np.array_equal(pixels(first["image"]), pixels(second["image"]))

    _, again, _ = sample("--like", second["image"], "--json")

    (row,) = json.loads(again)
    assert read_recipe(row["image"]) == read_recipe(second["image"])
    assert abs(pixels(row["image"]) - pixels(second["image"])).max() <= 1


def test_sample_of_the_main_size_is_the_one_that_nobody_asks_for(sample, of_several_sizes):
    _, out, _ = sample("--num", "2", "--class", "3", "--json")

    _, same, err = sample("--num", "2", "--class", "3", "--size", "8x8", "--json")

    assert same == out
    assert err.startswith("already drawn")
    assert read_recipe(json.loads(same)[0]["image"]).size is None


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--size", "4x16"], "no image of this run is 4x16; they are 8x8, 16x4"),
        (["--size", "wide"], "'wide' is no size; give WIDTHxHEIGHT in pixels"),
        (["--size", "016x4"], "'016x4' is no size"),
        (
            ["--size", "16x4", "--set", "sampling.gate=centroid"],
            'sampling.gate = "centroid" compares pixels of images of 8x8 alone',
        ),
    ],
)
def test_sample_of_a_size_that_cannot_be_drawn_says_which_can(
    sample, of_several_sizes, arguments, sentence
):
    code, out, err = sample(*arguments)

    assert (code, out) == (2, "")
    assert sentence in err
    assert err.count("\n") == 1


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--class", "cat"], "no class is called 'cat'"),
        (["--set", "sampling.strategy=best"], "sampling.strategy"),
        (["--set", "run.uri=nowhere"], "run `atoll partition`"),
        (["--out", "/dev/null/images"], "choose another --out"),
    ],
)
def test_sample_that_cannot_be_drawn_is_one_line_and_exit_code_2(sample, arguments, sentence):
    code, out, err = sample(*arguments)

    assert code == 2
    assert out == ""
    assert sentence in err
    assert err.count("\n") == 1


def test_sample_on_a_full_disk_is_one_line_and_leaves_no_piece_of_an_image(sample, tmp_path):
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100, limits[1]))  # bytes a file may grow to
    try:
        code, out, err = sample("--num", "1", "--class", "3", "--out", str(tmp_path / "full"))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)

    assert code == 2
    assert out == ""
    doing, refusal = err.splitlines()
    assert doing == "drawing images"
    assert "choose another --out, or make room" in refusal
    assert list((tmp_path / "full").iterdir()) == []
