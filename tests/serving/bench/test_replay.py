"""A trace against a small server that really listens."""

from __future__ import annotations

import asyncio
import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from atoll.__main__ import main
from atoll.errors import BadInput, Unreachable
from serving.bench.replay import Endpoint, replay
from serving.bench.tally import REFUSED
from serving.bench.trace import Arrival

PAINTED = {"created": 1, "data": [{"b64_json": "aGk="}, {"url": "http://127.0.0.1/1.png"}]}
KEY = "the key"


class Handler(BaseHTTPRequestHandler):
    """Does what the prompt says."""

    def do_GET(self):
        known = self.headers["Authorization"] in {None, f"Bearer {KEY}"}
        if self.path != "/v1/models":
            self.answer(404, {})
        else:
            self.answer(200 if known else 401, {} if known else {"error": {"message": "who?"}})

    def do_POST(self):
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        if not self.path.endswith("/v1/images/generations"):
            self.answer(405, {})
        elif body.get("n") == 0:
            self.answer(400, {})
        else:
            self.server.seen.append((self.path, self.headers["Authorization"], body))
            self.do(body.get("prompt", "200"))

    def do(self, prompt):
        if prompt == "hang up":
            self.close_connection = True
        elif prompt == "wait":
            self.server.all_there.wait(30)
            self.answer(200, PAINTED)
        elif prompt == "never":
            self.server.over.wait(30)
            self.close_connection = True
        elif prompt == "rubbish":
            self.answer(200, ["rubbish"])
        else:
            self.answer(int(prompt), PAINTED if prompt == "200" else {"error": {"message": "no"}})

    def answer(self, status, value):
        data = json.dumps(value).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *_):
        pass


@pytest.fixture
def server():
    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as serving:
        serving.seen = []
        serving.all_there = threading.Barrier(5)
        serving.over = threading.Event()
        thread = threading.Thread(target=serving.serve_forever, args=(0.01,))
        thread.start()
        yield serving
        serving.over.set()
        serving.shutdown()
        thread.join()


@pytest.fixture
def url(server):
    return f"http://127.0.0.1:{server.server_port}/v1"


def answers_to(url, *prompts, key="", timeout_s=20.0):
    trace = [Arrival(place / 100, {"prompt": prompt}) for place, prompt in enumerate(prompts)]
    told = []
    answers = asyncio.run(replay(trace, Endpoint(url, key, timeout_s), told.append))
    assert told == list(range(1, len(prompts) + 1))
    return answers


def test_replay_tells_what_became_of_each_request(url, server):
    answers = answers_to(url, "200", "429", "400", "503", "rubbish", "hang up", key=KEY)
    assert [answer.num_images for answer in answers] == [2, 0, 0, 0, 0, 0]
    assert [answer.failure for answer in answers[:5]] == [
        "",
        REFUSED,
        "400: no",
        "503: no",
        "an answer without images",
    ]
    assert "disconnected" in answers[5].failure
    assert server.seen[0] == ("/v1/images/generations", f"Bearer {KEY}", {"prompt": "200"})
    for place, answer in enumerate(answers):
        assert answer.due_at == place / 100 <= answer.sent_at <= answer.ended_at


def test_arrivals_do_not_wait_for_answers(url):
    """The server answers none before all five are there."""
    assert [each.num_images for each in answers_to(url, *["wait"] * 5)] == [2] * 5


def test_request_without_an_answer_is_given_up(url):
    assert answers_to(url, "never", timeout_s=0.2)[0].failure == "no answer within 0.2 s"


def test_endpoint_that_cannot_be_asked_is_refused_before_the_trace_begins(url, server):
    with pytest.raises(BadInput, match="OPENAI_API_KEY"):
        answers_to(url, "200", key="another")
    with pytest.raises(BadInput, match="is no URL"):
        answers_to("localhost:8000", "200")
    with pytest.raises(BadInput, match=r"on its way to example\.org"):
        answers_to("http://example.org:8000/v1", "200", key=KEY)
    with pytest.raises(BadInput, match=r"draws images \(405\).*OpenAI-compatible"):
        answers_to(url.removesuffix("/v1"), "200")
    server.server_close()
    server.shutdown()
    with pytest.raises(Unreachable, match="nobody answers"):
        answers_to(url, "200")
    assert server.seen == []


def test_endpoint_without_a_list_of_models_is_asked_for_no_image_beforehand(url, server):
    assert answers_to(url.replace("/v1", "/some/v1"), "200")[0].num_images == 2
    assert [body for _, _, body in server.seen] == [{"prompt": "200"}]


def test_command_ends_with_1_where_no_request_brought_images(url, capsys):
    body = ["--body", '{"prompt": "500"}', "--rate", "50", "--duration-s", "0.1", "--json"]
    with pytest.raises(SystemExit) as end:
        main(["bench", "serve", url, *body])
    told = capsys.readouterr()
    assert end.value.code == 1
    assert json.loads(told.out)["ok"] == 0
    assert "requests brought images: 500: no" in told.err


@pytest.mark.parametrize(
    ("options", "named"),
    [
        (["--rate", "1e12"], "--rate 1e+12 for --duration-s 30 makes 3e+13 requests"),
        (["--rate", "2", "--duration-s", "1e308"], "1,000,000 requests at most"),
        (["--seed", "-1"], "--seed"),
    ],
)
def test_command_refuses_a_trace_that_cannot_be_drawn_before_anybody_is_asked(
    url, server, capsys, options, named
):
    with pytest.raises(SystemExit) as end:
        main(["bench", "serve", url, *options])
    assert end.value.code == 2
    assert named in capsys.readouterr().err
    assert server.seen == []


def test_command_prints_the_tally(url, server, monkeypatch, capsys, tmp_path):
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    trace = tmp_path / "trace.jsonl"
    lines = [{"at_s": 0, "body": {"prompt": prompt}} for prompt in ("200", "200", "429", "500")]
    trace.write_text("\n".join(json.dumps(line) for line in lines))
    options = ["--trace", str(trace), "--model", "digits", "--deadline-s", "30", "--json"]
    with pytest.raises(SystemExit) as end:
        main(["bench", "serve", url, *options])
    assert end.value.code == 0
    tally = json.loads(capsys.readouterr().out)
    assert (tally["requests"], tally["ok"], tally["in_time"], tally["refused"]) == (4, 2, 2, 1)
    assert tally["failed"] == {"500: no": 1}
    assert {body["model"] for _, _, body in server.seen} == {"digits"}
    with pytest.raises(SystemExit) as end:
        main(["bench", "serve", url, "--trace", str(trace), "--rate", "2"])
    assert end.value.code == 2
    assert "--trace says it all" in capsys.readouterr().err
