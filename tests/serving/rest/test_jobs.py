"""Jobs over HTTP: accepted, watched, fetched, cancelled."""

from __future__ import annotations

import io
import json

from router.recipe import read_recipe


def events_of(answer):
    """The JSON of each event of a stream, in order."""
    for line in answer.iter_lines():
        if line.startswith("data:"):
            yield json.loads(line.removeprefix("data:"))


def test_job_is_accepted_watched_to_its_end_and_its_image_fetched(serve):
    with serve().client() as client:
        wish = {"class": ["3", 5], "n": 2, "seed": 7, "steps": 6, "partial_images": 2}
        accepted = client.post("/v1/jobs", json=wish)
        place = accepted.headers["Location"]
        with client.stream("GET", f"{place}/events") as answer:
            told = list(events_of(answer))
        picture = client.get(told[-1]["images"][1]["url"])
        preview = client.get(told[-1]["images"][1]["preview_url"])

    assert (accepted.status_code, accepted.json()["state"]) == (202, "queued")
    last = told[-1]
    assert (last["state"], last["ahead"], last["id"]) == ("done", 0, accepted.json()["id"])
    assert [(it["seed"], it["condition"], it["step"]) for it in last["images"]] == [
        (7, "3", 6),
        (8, "5", 6),
    ]
    assert all(len(step) == 2 for it in last["images"] for step in it["weights"])
    assert read_recipe(io.BytesIO(picture.content)).seed == 8
    assert preview.headers["Content-Type"] == "image/png"
