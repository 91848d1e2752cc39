"""Jobs that are open, and how long and how many results are kept."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from router.recipe import Recipe
from serving.engine.events import Done, Failed, Painted, Preview, Progress
from serving.service.job import Job
from serving.service.ledger import Ledger

IMAGE = torch.zeros(3, 100, 100)
BYTES = 32_100  # about, that a job of one such image takes


@pytest.fixture
def make_job(clock):
    def make(name, num=1, owner="me", prompt=""):
        recipes = [
            Recipe(seed, prompt, "euler", 3, 1.0, "full", "router", {}) for seed in range(num)
        ]
        return Job(name, owner, tuple(recipes), clock, 10.0)

    return make


@pytest.fixture
def ledger(clock):
    return Ledger(60.0, 2.5 * BYTES, clock)


def end(ledger, job, last=None):
    for position in range(len(job.recipes)):
        job.hear(Painted(position, IMAGE))
    job.hear(last or Done())
    ledger.end(job)


def kept(ledger, *names):
    return [name for name in names if ledger.find(name)]


def test_images_are_counted_by_owner_until_their_job_is_over(ledger, make_job):
    first, second, other = make_job("a", 3), make_job("b", 2), make_job("c", 4, "you")
    for job in (first, second, other):
        ledger.add(job)
    assert (ledger.num_images, ledger.num_images_of("me")) == (9, 5)
    end(ledger, first, Failed("it was cancelled"))
    assert (ledger.num_images, ledger.num_images_of("me"), ledger.num_images_of("you")) == (6, 2, 4)
    assert ledger.open == [second, other]
    end(ledger, second)
    assert ledger.num_images_of("me") == 0


def test_result_is_forgotten_after_its_time_and_an_open_job_is_not(ledger, make_job, clock):
    for name in "ab":
        ledger.add(make_job(name))
    end(ledger, ledger.find("b"))
    clock.now += 60
    assert kept(ledger, "a", "b") == ["a", "b"]
    clock.now += 1
    assert kept(ledger, "a", "b") == ["a"]


def test_results_that_take_too_much_are_forgotten_in_the_order_in_which_they_ended(
    ledger, make_job
):
    for name in "abcd":
        ledger.add(make_job(name))
    for name in "bacd":
        end(ledger, ledger.find(name))
        assert kept(ledger, name) == [name]
    assert kept(ledger, "a", "b", "c", "d") == ["c", "d"]


def test_newest_result_is_kept_whatever_it_takes(ledger, make_job):
    for name in "ab":
        ledger.add(make_job(name, 10))
        end(ledger, ledger.find(name))
    assert kept(ledger, "a", "b") == ["b"]


def test_job_that_is_forgotten_can_be_read_by_who_has_it(ledger, make_job):
    job = make_job("a")
    ledger.add(job)
    end(ledger, job)
    for name in "bc":
        ledger.add(make_job(name))
        end(ledger, ledger.find(name))
    assert ledger.find("a") is None
    assert job.view().images[0].image.shape == (100, 100, 3)


def test_job_takes_what_its_images_and_weights_do_and_no_preview_once_they_are_there(make_job):
    job = make_job("a")
    empty = job.num_bytes
    job.hear(Preview(0, 1, IMAGE))
    assert job.num_bytes == empty + 30_000
    job.hear(Painted(0, IMAGE))
    assert job.num_bytes == empty + 30_000
    assert job.view().images[0].preview is None
    assert job.view().images[0].image.dtype == np.uint8
    job.hear(Progress(0, 1, 3, (0.5, 0.5)))
    assert job.num_bytes == empty + 30_000 + 64


def test_job_takes_what_its_prompt_does_once_for_all_its_images(make_job):
    prompt = "\N{SNOWMAN}" * 32_000  # two bytes each
    assert 64_000 < make_job("a", 4, prompt=prompt).num_bytes - make_job("b", 4).num_bytes < 64_100
