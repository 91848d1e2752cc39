"""Sizes of images, over gRPC and by the command."""

from __future__ import annotations

import io
import json

import pytest
from PIL import Image

from atoll.client import Client
from atoll.errors import BadInput
from router.recipe import read_recipe
from tests.serving.conftest import SIDES
from tests.serving.rpc.test_client import generate
from tests.trained_run import copied, with_sizes


@pytest.fixture(scope="module")
def run(trained_folder, tmp_path_factory):
    return with_sizes(copied(trained_folder, tmp_path_factory.mktemp("sized")), *SIDES)


@pytest.fixture
def served(serve):
    return serve()


def test_client_is_told_of_sizes_and_given_images_of_them(served):
    with Client(served.address) as client:
        about = client.about()
        images = [client.generate("3", size=size)[0] for size in about.sizes]
        with pytest.raises(BadInput, match="give 8x8, 16x4 or 4x12"):
            client.generate("3", size=(4, 16))
    assert about.sizes == ((8, 8), (16, 4), (4, 12))
    assert about.size == (8, 8)
    assert tuple(Image.open(io.BytesIO(image.png)).size for image in images) == about.sizes


def test_command_draws_an_image_of_a_size(served, tmp_path):
    done = generate("--size", "16x4", "--json", "--at", served.address, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    path = tmp_path / json.loads(done.stdout)[0]["image"]
    with Image.open(path) as image:
        assert image.size == (16, 4)
    assert read_recipe(path).size == "16x4"


def test_command_told_no_size_says_how_one_is_written(served, tmp_path):
    done = generate("--size", "wide", "--at", served.address, cwd=tmp_path)
    assert done.returncode == 2
    assert done.stderr == "atoll: 'wide' is no size; give WIDTHxHEIGHT in pixels, such as 64x48\n"
