"""What is there, and what is not."""

from __future__ import annotations

METHODS = {
    "/v1/images/generations": {"POST"},
    "/v1/jobs": {"POST"},
    "/v1/models": {"GET"},
    "/style.css": {"GET", "HEAD"},
    "/": {"GET", "HEAD"},
}


def test_other_method_is_told_which_there_is_and_nothing_is_anywhere_else(served):
    with served.client() as client:
        for path, allowed in METHODS.items():
            answer = client.request("PUT", path)
            assert answer.status_code == 405, path
            assert set(answer.headers["Allow"].split(", ")) == allowed, path
            assert answer.json()["error"]["message"]
        for path in ("/v1/images/edits", "/missing.css", "/v1", "/../app.py"):
            for method in ("GET", "POST"):
                answer = client.request(method, path)
                assert answer.status_code == 404, path
                assert answer.json()["error"]["message"]
        page = client.get("/")
    assert page.headers["Content-Type"].startswith("text/html")
    assert "default-src 'self'" in page.headers["Content-Security-Policy"]


def test_body_that_is_refused_is_told_the_field_and_what_it_should_be(served):
    cases = {
        '{"step": 4}': ("step", "step: there is no such field; GET /openapi.json lists"),
        '{"size": "8"}': ("size", 'size: it should be WIDTHxHEIGHT or "auto"'),
        '{"n": 0}': ("n", "n: it should be greater than or equal to 1"),
        '{"stream": true, "response_format": "url"}': ("response_format", "events carry images"),
        "{": (None, "the body: it is no JSON"),
        "[]": (None, "the body: it should be an object of JSON"),
        "": (None, "the body: it is missing"),
        "[" * 100_000: (None, "the body: it is no JSON that can be read"),
    }
    kind = {"Content-Type": "application/json"}
    with served.client() as client:
        for body, (param, message) in cases.items():
            answer = client.post("/v1/images/generations", content=body, headers=kind)
            assert answer.status_code == 400, body[:50]
            problem = answer.json()["error"]
            assert problem["param"] == param
            assert problem["message"].startswith(message), problem
