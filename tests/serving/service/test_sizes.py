"""A service of a run whose images are of several sizes."""

from __future__ import annotations

import dataclasses
import itertools

import numpy as np
import pytest
import torch

from router.load import load_ensemble
from router.sampling import Wanted
from serving.service.order import Order, Unusable
from tests.latent_run import copied, train_latent_run
from tests.serving.built import Built, finished
from tests.serving.conftest import CPU, SIDES
from tests.trained_run import with_sizes


@pytest.fixture
def build():
    """Builds services of runs, and ends them."""
    made = []

    def build(run, **serving):
        made.append(Built(run, **serving))
        made[-1].service.start()
        return made[-1]

    yield build
    for each in made:
        each.close()


def assert_drawn_as_the_sampler_draws(built, run):
    """One order for each size, all at once."""
    service = built.service
    sizes = [(width, height) for height, width in SIDES]
    jobs = [
        service.order(
            Order(("3", "5"), num=2, seed=7, strategy="top-2", size=size, previews=1), "me"
        )
        for size in sizes
    ]
    loaded = load_ensemble(run.store, run.config, run.folder / "cache", CPU)
    for size, job in zip(sizes, jobs, strict=True):
        view, shape = finished(job), loaded.shape_at(size, "learned")
        wanted = Wanted([7, 8], torch.tensor([3, 5]), shape=shape)
        expected = loaded.sampler("top-2").draw(wanted, run.config.sampling)
        assert (view.state, expected.shape) == ("done", (2, size[1], size[0], 1))
        images = np.stack([each.image for each in view.images])
        assert np.abs(images.astype(int) - expected).max() <= 1
        told = None if size == sizes[0] else "x".join(map(str, size))
        assert {each.recipe.size for each in view.images} == {told}


def test_images_of_each_size_are_those_that_the_sampler_draws(build, sized):
    assert_drawn_as_the_sampler_draws(build(sized), sized)


def test_latents_of_each_size_are_decoded_to_the_images_that_the_sampler_decodes(build, tmp_path):
    run = with_sizes(copied(train_latent_run(tmp_path), tmp_path / "copy"), *SIDES)
    assert_drawn_as_the_sampler_draws(build(run), run)


def test_image_of_a_size_has_the_same_bits_beside_others_in_deterministic_mode(build, sized):
    service = build(sized, deterministic=True).service

    def images(*orders):
        views = [finished(job) for job in [service.order(order, "me") for order in orders]]
        return [np.stack([each.image for each in view.images]) for view in views]

    orders = [
        Order(("3",), num=2, seed=seed, guidance=2.0, solver="heun", size=(width, height))
        for seed, (height, width) in itertools.product((1, 2), SIDES)
    ]
    for together, order in zip(images(*orders), orders, strict=True):
        assert np.array_equal(together, *images(order))


@pytest.mark.parametrize("size", [(4, 16), (8, 16), (512, 512)])
def test_size_that_no_image_has_is_refused_by_those_there_are(build, sized, size):
    service = build(sized).service
    with pytest.raises(Unusable, match="leave it out, or give 8x8, 16x4 or 4x12") as caught:
        service.order(Order(size=size), "me")
    assert caught.value.field == "size"


def test_gate_that_compares_pixels_is_asked_for_its_own_size_alone(build, sized):
    sampling = sized.config.sampling.model_copy(update={"gate": "centroid"})
    config = sized.config.model_copy(update={"sampling": sampling})
    service = build(dataclasses.replace(sized, config=config)).service
    with pytest.raises(Unusable, match=r"leave it out, or give 8x8$"):
        service.order(Order(size=(16, 4)), "me")
    assert finished(service.order(Order(size=(8, 8)), "me")).state == "done"
