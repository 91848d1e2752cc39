"""A service of latents: images are decoded beside the drawing, and shown in pixels."""

import threading
from dataclasses import replace

import numpy as np
import pytest
import torch

from router.load import load_ensemble
from router.sampling import Wanted
from serving.service.order import Order
from tests.latent_run import train_latent_run
from tests.serving.built import Built, finished
from tests.serving.conftest import CPU


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    return train_latent_run(tmp_path_factory.mktemp("latents"))


@pytest.fixture
def built(trained):
    built = Built(trained)
    built.service.start()
    yield built
    built.close()


def test_service_of_latents_shows_pixels_as_the_sampler_decodes_them(built, trained):
    assert built.first.menu.shape == (1, 8, 8)
    order = Order(("3",), num=2, seed=7, strategy="top-1", size=(8, 8), previews=2)
    view = finished(built.service.order(order, "me"))
    sampler = load_ensemble(trained.store, trained.config, trained.folder / "cache", CPU)
    expected = sampler.sampler("top-1").draw(
        Wanted([7, 8], torch.tensor([3, 3])), trained.config.sampling
    )
    assert (view.state, expected.shape) == ("done", (2, 8, 8, 1))
    assert np.abs(np.stack([it.image for it in view.images]).astype(int) - expected).max() <= 1


def test_engine_draws_on_while_an_image_is_decoded(built):
    menu, going_on, painters = built.first.menu, threading.Event(), []

    def slow(x):
        painters.append(threading.current_thread().name)
        assert going_on.wait(60)
        return menu.decode(x)

    object.__setattr__(built.first, "menu", replace(menu, decode=slow))
    first = built.service.order(Order(("1",), seed=1), "me")
    while not painters:
        first.wait(first.view().version, 0.01)
    second = built.service.order(Order(("2",), seed=2), "me")
    engine = built.first.engine
    while engine.num_images:  # all is drawn, and nothing decoded
        second.wait(second.view().version, 0.01)
    assert {first.view().state, second.view().state} <= {"queued", "running"}
    going_on.set()
    assert [finished(job).state for job in (first, second)] == ["done", "done"]
    assert set(painters) == {"decoding"}


def test_image_that_cannot_be_decoded_fails_its_job_and_no_other(built):
    menu, tried = built.first.menu, []

    def failing(x):
        tried.append(len(tried))
        if len(tried) == 1:
            raise RuntimeError("out of memory")
        return menu.decode(x)

    object.__setattr__(built.first, "menu", replace(menu, decode=failing))
    broken = finished(built.service.order(Order(("1",), num=3, seed=1), "me"))
    assert (broken.state, broken.reason) == (
        "failed",
        "decoding broke off with RuntimeError; ask again",
    )
    assert finished(built.service.order(Order(("1",), seed=1), "me")).state == "done"
    assert built.service.is_healthy
