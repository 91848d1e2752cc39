"""OpenAI's images endpoint, by OpenAI's own client."""

from __future__ import annotations

import base64
import io
import time

import httpx2
import openai
import pytest
from PIL import Image

from router.recipe import read_recipe


def recipe_in(text):
    return read_recipe(io.BytesIO(base64.b64decode(text)))


def test_openai_client_draws_images_that_carry_their_recipes(serve):
    served = serve()
    answer = served.openai().images.generate(
        prompt="3", n=2, size="8x8", extra_body={"seed": 5, "strategy": "top-2"}
    )
    recipes = [recipe_in(each.b64_json) for each in answer.data]
    file = io.BytesIO(base64.b64decode(answer.data[0].b64_json))
    assert Image.open(file).size == (8, 8)
    assert [(it.seed, it.condition, it.strategy) for it in recipes] == [
        (5, "3", "top-2"),
        (6, "3", "top-2"),
    ]
    assert answer.data[0].revised_prompt == "3"


def test_openai_client_is_shown_images_while_they_are_drawn(served):
    valve, jobs = served.built.valve, []
    served.service.watch(jobs.append)
    valve.let(0)
    told = served.openai().images.generate(
        prompt="3", n=2, stream=True, partial_images=2, extra_body={"seed": 5, "steps": 6}
    )
    valve.let_until(lambda: all(image.preview_step for image in jobs[0].view().images))
    events = [next(told), next(told)]
    valve.let(None)
    events += told
    shown = {index: [event for event in events if event.index == index] for index in (0, 1)}
    for index, told in shown.items():
        *partial, last = told
        assert isinstance(last, openai.types.ImageGenCompletedEvent)
        assert (recipe_in(last.b64_json).seed, last.usage.total_tokens) == (5 + index, 0)
        assert partial
        assert all(isinstance(it, openai.types.ImageGenPartialImageEvent) for it in partial)
        assert [it.partial_image_index for it in partial] == list(range(len(partial)))


def test_openai_client_is_given_an_address_and_told_of_the_model(serve):
    client = serve().openai()
    [model] = client.models.list().data
    answer = client.images.generate(prompt="", model=model.id, response_format="url")
    assert httpx2.get(answer.data[0].url).headers["Content-Type"] == "image/png"
    assert model.atoll["classes"] == [str(digit) for digit in range(10)]
    assert (model.atoll["width"], model.atoll["num_experts"]) == (8, 2)
    assert client.models.retrieve(model.id).atoll["edition"] == model.atoll["edition"]


@pytest.mark.parametrize(
    ("wish", "status", "param", "named"),
    [
        ({"prompt": "eleven"}, 400, "prompt", "eleven"),
        ({"class": ["3", "eleven"]}, 400, "class", "eleven"),
        ({"class": 1.5}, 400, "class", "class: give a class"),
        ({"class": ["3", None]}, 400, "class", "class: give a class"),
        ({"prompt": "3", "class": "3"}, 400, "class", "prompt and class"),
        ({"prompt": "3", "steps": 10**6}, 400, "steps", "steps"),
        ({"prompt": "3", "n": 17}, 400, "n", "1 to 16"),
        ({"prompt": "3", "n": "many"}, 400, "n", "n:"),
        ({"prompt": "3", "size": "huge"}, 400, "size", "size"),
        ({"prompt": "3", "size": "512x512"}, 400, "size", "8x8"),
        ({"prompt": "3", "strategy": "best"}, 400, "strategy", "top-N"),
        ({"prompt": "3", "strategy": "top-3"}, 400, "strategy", "top-2"),
        ({"prompt": "3", "partial_images": 1001}, 400, "partial_images", "1000"),
        ({"prompt": "3", "output_format": "webp"}, 400, "output_format", "png"),
        ({"prompt": "3", "background": "transparent"}, 400, "background", "opaque"),
        ({"prompt": "3", "colour": "red"}, 400, "colour", "colour"),
        ({"prompt": "3", "model": "dall-e-3"}, 404, None, "dall-e-3"),
        ({"prompt": "3", "steps": 200, "deadline_s": 1e-9}, 504, None, "not done in"),
        ({"prompt": "3" * 600_000}, 413, None, "too large"),
    ],
)
def test_wish_that_cannot_be_had_is_refused_as_openai_refuses(served, wish, status, param, named):
    with served.client() as client:
        answer = client.post("/v1/images/generations", json=wish)
    error = answer.json()["error"]
    assert (answer.status_code, error["param"]) == (status, param)
    assert named in error["message"]
    assert error.keys() == {"message", "type", "param", "code"}


def test_body_that_is_no_json_is_refused_for_no_field(served):
    headers = {"Content-Type": "application/json"}
    with served.client() as client:
        answer = client.post("/v1/images/generations", content=b"{bad", headers=headers)
    error = answer.json()["error"]
    assert (answer.status_code, error["param"]) == (400, None)
    assert error["message"].startswith("the body: ")


@pytest.mark.parametrize("kind", [None, "text/plain", "application/x-www-form-urlencoded"])
def test_wish_that_is_not_said_to_be_json_is_told_how_to_say_so(served, kind):
    headers = {"Content-Type": kind} if kind else {}
    with served.client() as client:
        answer = client.post("/v1/images/generations", content=b'{"prompt": "3"}', headers=headers)
    assert answer.status_code == 400
    assert "Content-Type: application/json" in answer.json()["error"]["message"]


def test_openai_client_asks_once_for_what_misses_its_deadline(served):
    accepted = []
    served.service.watch(accepted.append)
    client = served.openai().with_options(max_retries=2)
    with pytest.raises(openai.InternalServerError) as caught:
        client.images.generate(prompt="3", extra_body={"steps": 200, "deadline_s": 1e-9})
    assert (caught.value.status_code, caught.value.code) == (504, "deadline_exceeded")
    assert len(accepted) == 1


def test_what_makes_no_difference_here_is_taken_as_openai_takes_it(served):
    answer = served.openai().images.generate(
        prompt="3",
        background="auto",
        moderation="low",
        output_compression=80,
        output_format="png",
        quality="hd",
        style="vivid",
        user="somebody",
    )
    assert (answer.output_format, answer.background) == ("png", "opaque")


def test_job_that_fails_is_an_error_in_the_answer_and_in_the_stream(serve, trained):
    for weights in trained.folder.rglob("checkpoints/expert-*/**/ema*"):
        weights.write_bytes(b"rubbish")
    client = serve().openai()
    with pytest.raises(openai.InternalServerError, match="cannot be had"):
        client.images.generate(prompt="3")
    with pytest.raises(openai.APIError, match="cannot be had"):
        list(client.images.generate(prompt="3", stream=True))


@pytest.mark.parametrize("stream", [True, False])
def test_caller_that_hangs_up_frees_its_rows(serve, stream):
    served = serve(max_steps=10**6, max_queue=4)
    wish = {"prompt": "3", "n": 4, "steps": 10**6, "stream": stream}
    with served.client() as client, pytest.raises(httpx2.ReadTimeout):
        client.post("/v1/images/generations", json=wish, timeout=0.5)
    give_up_at = time.monotonic() + 60
    while served.service.num_waiting:
        assert time.monotonic() < give_up_at
        time.sleep(0.02)
    served.openai().images.generate(prompt="3", n=4)
