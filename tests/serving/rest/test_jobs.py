"""Jobs over HTTP: accepted, watched, fetched, cancelled."""

from __future__ import annotations

import io
import json
import socket

import numpy as np
import pytest
import torch
from fastapi import HTTPException
from PIL import Image

from atoll.__main__ import main
from atoll.config_file import save_config
from router.recipe import Recipe, read_recipe
from serving.engine.events import Done, Painted
from serving.rest import jobs
from serving.service.job import Job
from tests.serving.built import finished


def named_events_of(lines):
    """Name and JSON of each event of a stream, in order."""
    name = None
    for line in lines:
        field, _, value = line.strip().partition(": ")
        if field == "event":
            name = value
        elif field == "data":
            yield name, json.loads(value)


def events_of(answer):
    """The JSON of each."""
    return (told for _, told in named_events_of(answer.iter_lines()))


def put_together(events):
    """What a reader knows at last that takes in one event after the other, by the description."""
    known = {}
    for name, told in events:
        if name == "job":
            known = told
            continue
        images = list(known["images"])
        for each in told["images"]:
            before = images[each["index"]]
            images[each["index"]] = {
                **before,
                **each,
                "weights": before["weights"] + each["weights"],
            }
        known = {**known, **told, "images": images}
    return known


def pixels(answer):
    """Of a PNG."""
    return np.asarray(Image.open(io.BytesIO(answer.content)))


def test_job_is_accepted_watched_to_its_end_and_its_image_fetched(served):
    served.built.valve.let(0)
    with served.client() as client:
        wish = {"class": ["3", 5], "n": 2, "seed": 7, "steps": 6, "partial_images": 2}
        accepted = client.post("/v1/jobs", json=wish)
        place = accepted.headers["Location"]
        served.built.valve.let(None)
        with client.stream("GET", f"{place}/events") as answer:
            told = list(events_of(answer))
        picture = client.get(told[-1]["images"][1]["url"])
        preview = client.get(f"{place}/previews/1.png")

    assert accepted.status_code == 202
    assert accepted.json()["state"] in {"queued", "running"}  # an engine may have been quick
    last = told[-1]
    assert (last["state"], last["ahead"], last["id"]) == ("done", 0, accepted.json()["id"])
    assert [(it["seed"], it["condition"], it["step"]) for it in last["images"]] == [
        (7, "3", 6),
        (8, "5", 6),
    ]
    assert all(len(step) == 2 for it in last["images"] for step in it["weights"])
    assert read_recipe(io.BytesIO(picture.content)).seed == 8
    assert last["images"][1]["preview_url"] is None
    assert (pixels(preview) == pixels(picture)).all()  # who asks too late finds the image


def test_events_tell_what_is_new_and_together_all_there_is(served):
    valve, wish = served.built.valve, {"prompt": "3", "n": 4, "steps": 30, "partial_images": 5}
    valve.let(0)
    with served.client() as client:
        place = client.post("/v1/jobs", json=wish).headers["Location"]
        job = served.service.job(place.rpartition("/")[2], "anyone")
        with client.stream("GET", f"{place}/events") as answer:
            told = named_events_of(answer.iter_lines())
            events = [next(told)]
            for step in (10, 20):
                valve.let_until(lambda at=step: all(it.step >= at for it in job.view().images))
                while any(it["step"] < step for it in put_together(events)["images"]):
                    events.append(next(told))
            valve.let(None)
            events += told
        whole = client.get(place).json()

    assert {events[0][0], events[-1][0]} == {"job"}
    between = events[1:-1]
    assert {name for name, _ in between} == {"changes"}
    assert all("recipe" not in it for _, told in between for it in told["images"])
    assert events[-1][1] == whole
    known = put_together(events[:-1])
    for before, after in zip(known["images"], whole["images"], strict=True):
        assert before["step"] == len(before["weights"]) > 1
        assert before["weights"] == after["weights"][: before["step"]]
        assert before["recipe"] == after["recipe"]
    sent = sum(len(it["weights"]) for _, told in events[:-1] for it in told["images"])
    assert sent == sum(it["step"] for it in known["images"])  # each step once


def test_reader_that_takes_nothing_keeps_nobody_and_is_told_the_end(served):
    valve = served.built.valve
    valve.let(0)
    with served.client() as client, socket.socket() as slow:
        wish = {"prompt": "3", "n": 8, "steps": 100}
        place = client.post("/v1/jobs", json=wish).headers["Location"]
        slow.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        slow.connect(("127.0.0.1", int(served.address.rpartition(":")[2])))
        slow.sendall(f"GET {place}/events HTTP/1.0\r\nHost: localhost\r\n\r\n".encode())
        with slow.makefile("rb") as sent:
            told = (json.loads(line[5:]) for line in sent if line.startswith(b"data:"))
            assert next(told)["state"] == "queued"
            valve.let(None)
            assert client.post("/v1/images/generations", json={"prompt": "5"}).status_code == 200
            finished(served.service.job(place.rpartition("/")[2], "anyone"))
            *_, last = told
    assert last["state"] == "done"


class JobThatEnds(Job):
    """As soon as somebody has looked at it."""

    def view(self):
        seen = super().view()
        if not seen.is_over:
            self.hear(Painted(0, torch.zeros(1, 8, 8)))
            self.hear(Done())
        return seen


def test_image_of_a_job_that_ends_meanwhile_is_not_there_yet_and_then_it_is(clock):
    recipe = Recipe(7, "3", "euler", 3, 1.0, "full", "router", {})
    job = JobThatEnds("a", "me", (recipe,), clock, 10.0)
    with pytest.raises(HTTPException) as refused:
        jobs.image(job, 0)
    assert refused.value.status_code == 404
    assert Image.open(io.BytesIO(jobs.image(job, 0).body)).size == (8, 8)


def test_job_is_cancelled_and_stays_so(serve):
    served = serve(max_steps=10**6)
    with served.client() as client:
        wish = {"prompt": "3", "steps": 10**6}
        place = client.post("/v1/jobs", json=wish).headers["Location"]
        with client.stream("GET", f"{place}/events") as answer:
            events = events_of(answer)
            next(events)
            client.delete(place)
            assert [told["state"] for told in events][-1] == "cancelled"
        assert client.delete(place).json()["reason"] == "it was cancelled"
        assert client.get(f"{place}/images/0.png").status_code == 410
        assert client.get(f"{place}/images/1.png").json()["error"]["code"] == "not_found"


def test_image_is_drawn_again_from_the_recipe_it_carries(served, trained, tmp_path, capsys):
    with served.client() as client:
        wish = {"prompt": "3", "seed": 7, "steps": 5, "strategy": "top-2"}
        place = client.post("/v1/jobs", json=wish).headers["Location"]
        with client.stream("GET", f"{place}/events") as answer:
            list(events_of(answer))
        file = tmp_path / "drawn.png"
        file.write_bytes(client.get(f"{place}/images/0.png").content)
    save_config(trained.store, trained.config)
    uri = ["--set", f"run.uri={trained.uri}"]
    with pytest.raises(SystemExit) as leaving:
        main(["sample", *uri, "--like", str(file), "--out", str(tmp_path / "again")])
    assert not leaving.value.code, capsys.readouterr().err
    again = np.asarray(Image.open(tmp_path / "again" / "000007-3.png")).astype(int)
    assert np.abs(again - np.asarray(Image.open(file))).max() <= 1
