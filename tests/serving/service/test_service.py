"""A trained run as a service: what it draws, what it refuses, and how it leaves."""

from __future__ import annotations

from contextlib import closing

import numpy as np
import pytest
import torch

from atoll.errors import BadInput, Busy, NotFound
from router.load import load_ensemble
from router.sampling import Wanted
from serving.engine.events import Done, Painted, Progress
from serving.engine.tick import Came
from serving.service.order import Order
from tests.serving.built import Built, finished, until
from tests.serving.conftest import CPU


@pytest.fixture
def make_service(trained):
    made = []

    def make(**serving):
        made.append(Built(trained, **serving))
        made[-1].service.start()
        return made[-1].service

    yield make
    for built in made:
        built.close()


@pytest.fixture
def service(make_service):
    return make_service()


def test_service_draws_what_the_sampler_draws_with_the_recipe_of_each_image(service, trained):
    view = finished(service.order(Order(("3", "5"), num=3, seed=7, strategy="top-2"), "me"))

    loaded = load_ensemble(trained.store, trained.config, trained.folder / "cache", CPU)
    sampler = loaded.sampler("top-2")
    expected = sampler.draw(Wanted([7, 8, 9], torch.tensor([3, 5, 3])), trained.config.sampling)
    assert view.state == "done"
    assert np.abs(np.stack([it.image for it in view.images]).astype(int) - expected).max() <= 1
    assert [(it.recipe.seed, it.recipe.condition) for it in view.images] == [
        (7, "3"),
        (8, "5"),
        (9, "3"),
    ]
    assert [len(it.weights) for it in view.images] == [3, 3, 3]


@pytest.mark.parametrize(
    ("order", "named"),
    [
        (Order(("eleven",)), "eleven"),
        (Order(num=17), "n = 17"),
        (Order(num=0), "n = 0"),
        (Order(size=(512, 512)), "8x8"),
        (Order(steps=0), "steps"),
        (Order(steps=10**9), "steps"),
        (Order(guidance=float("nan")), "guidance"),
        (Order(guidance=float("inf")), "guidance"),
        (Order(seed=-1), "seed"),
        (Order(solver="dopri5"), "solver"),
        (Order(strategy="top-3"), "top-2"),
        (Order(strategy="best"), "best"),
        (Order(deadline_s=float("nan")), "deadline_s"),
    ],
)
def test_order_that_cannot_be_had_is_refused_by_its_field(service, order, named):
    with pytest.raises(BadInput, match=named):
        service.order(order, "me")


def test_order_beyond_the_queue_is_refused_and_others_are_not(make_service):
    service = make_service(max_queue=4)
    slow = service.order(Order(num=4, steps=250), "me")
    with pytest.raises(Busy, match="max_queue"):
        service.order(Order(), "me")
    service.cancel(slow.name, "me")
    assert finished(slow).state == "cancelled"
    assert finished(service.order(Order(), "me")).state == "done"


def test_order_beyond_the_share_of_a_key_is_refused_and_those_of_others_are_not(make_service):
    service = make_service(max_queue=8, queue_share=0.5, api_keys="keys.toml")
    with pytest.raises(BadInput, match="n = 5 is out of range; give 1 to 4"):
        service.order(Order(num=5), "me")
    first = service.order(Order(num=3, steps=250), "me")
    with pytest.raises(Busy, match=r"3 images of this key .*queue_share = 0.5 .* room for 4"):
        service.order(Order(num=2), "me")
    other = service.order(Order(num=4, steps=250), "you")
    service.order(Order(steps=250), "me")
    with pytest.raises(Busy, match=r"8 images are waiting and serving\.max_queue = 8"):
        service.order(Order(), "them")
    for job in (first, other):
        service.cancel(job.name, job.owner)
        finished(job)
    assert finished(service.order(Order(num=3), "me")).state == "done"


def test_order_that_there_is_never_room_for_is_refused_for_good(make_service):
    service = make_service(max_queue=4)
    with pytest.raises(BadInput, match="n = 5 is out of range; give 1 to 4"):
        service.order(Order(num=5), "me")


def test_run_is_served_with_the_steps_of_its_own(make_service, trained):
    service = make_service(max_steps=trained.config.sampling.steps - 1)
    assert finished(service.order(Order(previews=50), "me")).state == "done"
    with pytest.raises(BadInput, match="steps"):
        service.order(Order(steps=trained.config.sampling.steps + 1), "me")


def test_job_is_told_to_its_owner_alone(service):
    job = service.order(Order(), "me")
    with pytest.raises(NotFound):
        service.job(job.name, "you")
    with pytest.raises(NotFound):
        service.cancel(job.name, "you")
    assert service.job(job.name, "me") is job


def test_results_beyond_what_is_kept_are_forgotten_the_oldest_first(make_service):
    service = make_service(keep_mb=0.003)
    first, second = (finished(service.order(Order(), "me")).name for _ in range(2))
    with pytest.raises(NotFound, match=r"serving\.keep_mb"):
        service.job(first, "me")
    assert service.job(second, "me").view().state == "done"


def test_images_ahead_are_those_that_are_due_first_and_not_painted(trained, clock):
    with closing(Built(trained, clock)) as built:
        built.valve.let(0)
        service = built.service
        service.start()
        low = service.order(Order(priority="low"), "you")
        large = service.order(Order(num=16), "you")
        clock.now += 0.51
        mine = service.order(Order(num=2), "me")
        urgent = service.order(Order(priority="high"), "you")

        assert service.ahead_of(mine) == 11 + 1  # of the large one, one is due every 0.05 s
        assert (service.ahead_of(urgent), service.ahead_of(low)) == (0, 16 + 2 + 1)
        for position in (0, 3, 15):
            large.hear(Painted(position, torch.zeros(1, 8, 8)))
        assert service.ahead_of(mine) == 9 + 1
        urgent.hear(Done())
        assert (service.ahead_of(mine), service.ahead_of(urgent)) == (9, 0)
        mine.hear(Progress(1, 1, 3, (0.5, 0.5)))
        assert service.ahead_of(mine) == 0  # though its first image is still to come


def test_order_that_is_given_up_before_the_engine_has_it_is_not_drawn(trained):
    with closing(Built(trained)) as built:

        def give_up(job):
            built.service.abandon(job)
            built.first.engine.tick()  # which knows of no such order, and forgets about it

        built.service.watch(give_up)
        job = built.service.order(Order(), "me")
        built.service.start()
        assert finished(job).state == "cancelled"


def test_service_that_drains_finishes_what_it_has_and_takes_no_more(service):
    jobs = [service.order(Order(num=2, steps=20), "me") for _ in range(3)]
    assert service.drain(60)
    with pytest.raises(Busy):
        service.order(Order(), "me")
    assert {job.view().state for job in jobs} == {"done"}


def test_service_that_brings_no_experts_any_more_is_neither_healthy_nor_ready(trained, caplog):
    def watch(told):
        assert not isinstance(told, Came), "the thread that brings them dies of it"

    with closing(Built(trained, watch=watch)) as built:
        built.service.start()
        until(lambda: not built.service.is_healthy)
        assert not built.service.is_ready
    assert "start the service anew" in caplog.text


@pytest.mark.parametrize("missing", [True, False])
def test_expert_that_is_damaged_is_done_without_or_fails_those_who_ask_for_exactness(
    make_service, trained, missing
):
    key = (
        load_ensemble(trained.store, trained.config, trained.folder / "cache", CPU)
        .checkpoints["expert-1"]
        .key
    )
    weights = next((trained.folder / "run" / key).glob("ema*"))
    weights.unlink() if missing else weights.write_bytes(b"rubbish")
    service = make_service()
    both = finished(service.order(Order(strategy="full", exact=True), "me"))
    assert both.state == "failed"
    assert both.is_without
    assert "expert 1 cannot be had" in both.reason
    bound = [Order(strategy="ancestral", seed=seed, exact=True) for seed in range(12)]
    assert {finished(service.order(it, "me")).state for it in bound} == {"done", "failed"}
    (image,) = finished(service.order(Order(strategy="full"), "me")).images
    assert image.recipe.without == (1,)
    assert {weights[1] for weights in image.weights} == {0}
    with pytest.raises(BadInput, match="nothing draws it again"):
        image.recipe.refuse_others(image.recipe.checkpoints)


def test_deterministic_service_draws_the_same_bits_whatever_is_drawn_beside(make_service):
    service = make_service(deterministic=True)
    order = Order(("3",), seed=5, strategy="full", guidance=2.0)
    alone = finished(service.order(order, "me")).images[0].image
    beside = [service.order(Order(num=5, seed=50 + place), "me") for place in range(5)]
    among = finished(service.order(order, "me")).images[0].image
    assert {finished(job).state for job in beside} == {"done"}
    assert (alone == among).all()
