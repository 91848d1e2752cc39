"""Sizes of images, in OpenAI's words."""

from __future__ import annotations

import base64
import io

import pytest
from PIL import Image


@pytest.fixture
def served(serve, sized):
    """A service of a run whose images are of several sizes."""
    return serve()


def size_in(text):
    return "{}x{}".format(*Image.open(io.BytesIO(base64.b64decode(text))).size)


@pytest.mark.parametrize(
    ("wish", "size"),
    [
        ({}, "8x8"),
        ({"size": "auto"}, "8x8"),
        ({"size": "16x4"}, "16x4"),
        ({"size": "4x12"}, "4x12"),
    ],
)
def test_answer_has_the_size_that_was_asked_for_and_says_so(served, wish, size):
    answer = served.openai().images.generate(prompt="3", n=2, **wish)
    assert answer.size == size
    assert [size_in(each.b64_json) for each in answer.data] == [size, size]


def test_events_tell_the_size_of_previews_and_of_the_image(served):
    valve, jobs = served.built.valve, []
    served.service.watch(jobs.append)
    valve.let(0)
    told = served.openai().images.generate(
        prompt="3", size="16x4", stream=True, partial_images=1, extra_body={"steps": 6}
    )
    valve.let_until(lambda: jobs[0].view().images[0].preview_step)
    partial = next(told)
    valve.let(None)
    for event, kind in zip([partial, *told], ("partial_image", "completed"), strict=True):
        assert event.type == f"image_generation.{kind}"
        assert event.size == size_in(event.b64_json) == "16x4"


def test_model_tells_its_sizes_and_a_job_that_of_its_images(served):
    with served.client() as client:
        about = client.get("/v1/models").json()["data"][0]["atoll"]
        jobs = [client.post("/v1/jobs", json={"size": size}).json() for size in about["sizes"]]
    assert about["sizes"] == ["8x8", "16x4", "4x12"]
    assert (about["width"], about["height"]) == (8, 8)
    assert [job["images"][0]["recipe"]["size"] for job in jobs] == [None, "16x4", "4x12"]


@pytest.mark.parametrize("size", ["12x4", "0x8", "8x8x1"])
def test_size_that_cannot_be_had_is_refused_by_its_field(served, size):
    with served.client() as client:
        answer = client.post("/v1/images/generations", json={"size": size})
    error = answer.json()["error"]
    assert (answer.status_code, error["param"]) == (400, "size")
    assert size != "12x4" or "leave it out, or give 8x8, 16x4 or 4x12" in error["message"]
