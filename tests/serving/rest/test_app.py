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
