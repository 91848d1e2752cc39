"""Who is let in, how often, and how many wait."""

from __future__ import annotations

import io
import ssl

import httpx2
import openai
import pytest

from atoll.__main__ import main
from atoll.clock import SystemClock
from atoll.rates import Rates
from router.recipe import read_recipe
from serving.keys import Keys, add_key
from serving.rest.app import make_app
from serving.rest.server import RestServer
from tests.fakes import ManualClock

WISH = {"prompt": "3", "n": 4, "steps": 250}


@pytest.fixture
def keys(tmp_path):
    return tmp_path / "keys.toml"


def test_caller_with_a_key_sees_its_own_jobs_and_no_others(serve, keys):
    alice, bob = add_key(keys, "alice"), add_key(keys, "bob")
    served = serve(more={"keys": Keys(keys)})
    with served.client(Authorization=f"Bearer {alice}") as client:
        place = client.post("/v1/jobs", json=WISH).headers["Location"]
        assert client.get(place).status_code == 200
    with served.client(Authorization=f"Bearer {bob}") as client:
        assert {client.get(place).status_code, client.delete(place).status_code} == {404}
        assert client.get("/metrics").status_code == 200


def test_stranger_is_let_see_nothing_but_health(serve, keys):
    add_key(keys, "alice")
    served = serve(more={"keys": Keys(keys)})
    with pytest.raises(openai.AuthenticationError, match="not known"):
        served.openai("atoll-guess").images.generate(prompt="3")
    with served.client() as client:
        refused = client.get("/v1/models")
        assert (refused.status_code, refused.headers["WWW-Authenticate"]) == (401, "Bearer")
        assert client.get("/metrics").status_code == 401
        assert client.get("/healthz").json() == {"ok": True}


def test_address_of_an_image_needs_no_key_and_is_good_while_the_job_is_kept(serve, keys):
    alice, clock = add_key(keys, "alice"), ManualClock()
    served = serve(more={"keys": Keys(keys)}, clock=clock, keep_s=60.0)
    wish = {"prompt": "3", "n": 2, "response_format": "url"}
    with served.client(Authorization=f"Bearer {alice}") as client:
        first, second = client.post("/v1/images/generations", json=wish).json()["data"]
        place = client.post("/v1/jobs", json=wish).headers["Location"]
    with served.client() as stranger:
        picture = stranger.get(second["url"])
        assert read_recipe(io.BytesIO(picture.content)).seed == first["seed"] + 1
        assert stranger.get("/v1/images/guessed/0.png").status_code == 404
        assert stranger.get(second["url"].replace("1.png", "2.png")).status_code == 404
        assert stranger.get(f"{place}/images/0.png").status_code == 401
        clock.now += 61
        assert stranger.get(second["url"]).status_code == 404


def test_page_of_another_site_is_let_ask_nothing(served):
    wish = {"prompt": "3", "response_format": "url"}
    with served.client() as client:
        url = client.post("/v1/images/generations", json=wish).json()["data"][0]["url"]
        assert client.get(url).status_code == 200
    with served.client(Host="rebound.example.org") as client:
        assert client.post("/v1/jobs", json=WISH).status_code == 403
        assert client.get(url).status_code == 403
    with served.client() as client:  # a form, which browsers send anywhere
        sent = client.post(
            "/v1/jobs", content='{"prompt": "3"}', headers={"Content-Type": "text/plain"}
        )
        assert sent.status_code == 400


def test_caller_in_a_hurry_is_told_when_to_come_again(serve):
    served = serve(more={"rates": Rates(1 / 30, 2, SystemClock())})
    with served.client() as client:
        told = [client.post("/v1/jobs", json={"prompt": "3"}) for _ in range(3)]
        assert [answer.status_code for answer in told] == [202, 202, 429]
        assert 1 <= int(told[-1].headers["Retry-After"]) <= 30
        assert 'atoll_requests_total{outcome="hasty"} 1.0' in client.get("/metrics").text


def test_request_beyond_the_queue_is_told_when_to_come_again(serve):
    served = serve(max_queue=4)
    with served.client() as client:
        place = client.post("/v1/jobs", json=WISH).headers["Location"]
        full = client.post("/v1/jobs", json=WISH)
        client.delete(place)
    assert (full.status_code, full.json()["error"]["type"]) == (429, "rate_limit_error")
    assert int(full.headers["Retry-After"]) >= 1


def test_key_that_has_its_share_of_the_queue_is_told_so_and_others_are_let_in(serve, keys):
    alice, bob = add_key(keys, "alice"), add_key(keys, "bob")
    served = serve(more={"keys": Keys(keys)}, api_keys=str(keys), max_queue=8)
    with served.client(Authorization=f"Bearer {alice}") as client:
        place = client.post("/v1/jobs", json=WISH).headers["Location"]
        full = client.post("/v1/jobs", json=WISH)
        with served.client(Authorization=f"Bearer {bob}") as other:
            other.delete(other.post("/v1/jobs", json=WISH).headers["Location"])
        client.delete(place)
    assert full.status_code == 429
    assert "serving.queue_share = 0.5" in full.json()["error"]["message"]
    assert int(full.headers["Retry-After"]) >= 1


def test_service_that_leaves_is_not_ready_and_takes_no_more(served):
    with served.client() as client:
        assert client.get("/readyz").status_code == 200
        served.service.drain(60)
        assert client.get("/readyz").status_code == 503
        refused = client.post("/v1/jobs", json=WISH)
        assert (refused.status_code, refused.json()["error"]["code"]) == (503, "unavailable")
        assert client.get("/healthz").status_code == 200


def test_caller_trusts_the_certificate_of_the_lab(served, tmp_path, capsys):
    with pytest.raises(SystemExit):
        main(["certs", str(tmp_path / "tls")])
    server = RestServer(make_app(served.service), "127.0.0.1:0", str(tmp_path / "tls"))
    address = server.start()
    trusted = ssl.create_default_context(cafile=tmp_path / "tls" / "ca.crt")
    try:
        assert address.startswith("https://127.0.0.1:")
        assert httpx2.get(f"{address}/healthz", verify=trusted).json() == {"ok": True}
    finally:
        server.stop(1)
