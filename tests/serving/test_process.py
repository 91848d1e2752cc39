"""``atoll serve``: a real process, from its first line to its last."""

from __future__ import annotations

import os
import signal
import socket
import threading
import time

import grpc
import httpx2
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

import atoll
from atoll.__main__ import main
from atoll.config import Config
from atoll.config_file import run_config
from atoll.errors import Interrupted
from partition.stage import run_partition
from serving.engine.tick import Came
from serving.metrics import Metrics
from serving.process import serve
from serving.signals import Signals
from tests.trained_run import SETTINGS


@pytest.fixture
def signals():
    """This process heeds signals as it did before."""
    handlers = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    yield
    for number, handler in handlers.items():
        signal.signal(number, handler)


def refused(capsys, *arguments):
    """What a command says that ends with exit code 2."""
    with pytest.raises(SystemExit) as leaving:
        main(["serve", *arguments])
    assert leaving.value.code == 2
    return capsys.readouterr().err


def test_process_that_is_told_to_leave_finishes_what_it_accepted(serve_run):
    serving = serve_run()
    address, answers, images = serving.rest, [], []

    def call():
        with atoll.Client(serving.grpc) as client:
            images.extend(client.generate("3", n=4, steps=400))

    def ask():
        wish = {"prompt": "3", "n": 4, "steps": 400}
        url = f"{address}/v1/images/generations"
        answers.append(httpx2.post(url, json=wish, timeout=100))

    callers = [threading.Thread(target=each) for each in (ask, ask, call)]
    for caller in callers:
        caller.start()
    metrics = ""
    while "atoll_images_in_progress 12.0" not in metrics:
        metrics = httpx2.get(f"{address}/metrics").text
        time.sleep(0.01)
        assert not answers, "it was too fast to be under load"
    serving.process.send_signal(signal.SIGTERM)
    while httpx2.get(f"{address}/readyz").status_code == 200:
        time.sleep(0.01)
    late = httpx2.post(f"{address}/v1/images/generations", json={"prompt": "3"})
    for caller in callers:
        caller.join()
    assert serving.process.wait(timeout=60) == 0, serving.log.read_text()
    assert [(answer.status_code, len(answer.json()["data"])) for answer in answers] == [
        (200, 4)
    ] * 2
    assert len(images) == 4
    assert late.status_code == 503
    assert "Traceback" not in serving.log.read_text()


@pytest.mark.usefixtures("signals")
def test_process_that_is_told_twice_leaves_what_it_has(trained_uri):
    anywhere = ["serving.listen=127.0.0.1:0", "serving.grpc_listen=127.0.0.1:0"]
    config = run_config(None, [f"run.uri={trained_uri}", *anywhere])

    answers = []

    def wait_for_images(address):
        wish = {"prompt": "3", "n": 16, "steps": 250}
        answers.append(httpx2.post(f"{address}/v1/images/generations", json=wish, timeout=60))

    def tell_twice(address):
        waiting.start()
        for seed in range(15):
            wish = {"prompt": "3", "n": 16, "steps": 250, "seed": seed}
            httpx2.post(f"{address}/v1/jobs", json=wish)
        os.kill(os.getpid(), signal.SIGINT)
        while httpx2.get(f"{address}/readyz").status_code == 200:
            time.sleep(0.01)
        os.kill(os.getpid(), signal.SIGTERM)

    def opened(addresses):
        nonlocal waiting
        waiting = threading.Thread(target=wait_for_images, args=[addresses["rest"]])
        threading.Thread(target=tell_twice, args=[addresses["rest"]]).start()

    waiting = threading.Thread()
    with pytest.raises(Interrupted, match=r"not finished: \d\d"):
        serve(config, opened, Signals())
    waiting.join()
    (answer,) = answers
    assert (answer.status_code, answer.json()["error"]["code"]) == (503, "unavailable")


@pytest.mark.usefixtures("signals")
def test_process_that_is_told_to_leave_breaks_off_its_start(trained_uri, monkeypatch, capsys):
    tries = []

    def load_from_a_store_that_stalls(*_, **__):
        while not tries:
            try:
                tries.append("it takes long")
                os.kill(os.getpid(), signal.SIGTERM)
                time.sleep(60)
            except Exception:  # as one who tries again does
                tries.clear()

    monkeypatch.setattr("serving.process.load_edition", load_from_a_store_that_stalls)
    with pytest.raises(SystemExit) as leaving:
        main(["serve", trained_uri])
    assert (leaving.value.code, len(tries)) == (130, 1)
    assert capsys.readouterr().err == "atoll: interrupted before it served anybody\n"


@pytest.mark.usefixtures("signals")
def test_process_that_brings_no_experts_any_more_says_so_everywhere(trained_uri, monkeypatch):
    def hear(_, told):
        assert not isinstance(told, Came), "the thread that brings them dies of it"

    monkeypatch.setattr(Metrics, "hear", hear)
    anywhere = ["serving.listen=127.0.0.1:0", "serving.grpc_listen=127.0.0.1:0"]
    told = {}

    def look(addresses):
        rest = addresses["rest"]
        try:
            with grpc.insecure_channel(addresses["grpc"]) as channel:
                check = health_pb2_grpc.HealthStub(channel).Check
                while told.get("grpc") != health_pb2.HealthCheckResponse.NOT_SERVING:
                    told["grpc"] = check(health_pb2.HealthCheckRequest()).status
                    time.sleep(0.01)
            for path in ("healthz", "readyz"):
                told[path] = httpx2.get(f"{rest}/{path}").status_code
            told["order"] = httpx2.post(f"{rest}/v1/jobs", json={}).json()["error"]["message"]
        finally:
            os.kill(os.getpid(), signal.SIGTERM)

    looking = []

    def opened(addresses):
        looking.append(threading.Thread(target=look, args=[addresses]))
        looking[0].start()

    serve(run_config(None, [f"run.uri={trained_uri}", *anywhere]), opened, Signals())
    looking[0].join()
    assert (told["healthz"], told["readyz"]) == (503, 503)
    assert told["order"] == "it draws no more; the log of the service says why"


@pytest.mark.usefixtures("signals")
@pytest.mark.parametrize("key", ["listen", "grpc_listen"])
def test_port_that_is_taken_is_refused_before_anything_is_loaded(
    trained_uri, monkeypatch, capsys, key
):
    monkeypatch.setattr("serving.process.load_edition", lambda *_, **__: pytest.fail("it loads"))
    free = {"listen": "127.0.0.1:0", "grpc_listen": "127.0.0.1:0"}
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        where = {**free, key: f"127.0.0.1:{port}"}
        flags = [part for of, at in where.items() for part in ("--set", f"serving.{of}={at}")]
        told = refused(capsys, trained_uri, *flags)
    assert f"port {port} on 127.0.0.1 is in use" in told
    assert f"set serving.{key} to another" in told


@pytest.mark.usefixtures("signals")
def test_what_cannot_be_served_is_refused_in_a_sentence(trained_uri, tmp_path, capsys):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        listen = f"serving.listen=127.0.0.1:{taken.getsockname()[1]}"
        assert "set serving.listen to another" in refused(capsys, trained_uri, "--set", listen)
    assert "no run was ever started" in refused(capsys, str(tmp_path / "nowhere"))
    nowhere = f"run.uri={tmp_path / 'other'}"
    assert f"{tmp_path / 'other'}: `atoll serve` builds on" in refused(capsys, "--set", nowhere)
    assert "RUN and --set run.uri both" in refused(capsys, trained_uri, "--set", nowhere)
    assert 'RUN is ""' in refused(capsys, "")
    assert "sampling.solver" in refused(capsys, trained_uri, "--set", "sampling.solver=dopri5")
    assert "serving.api_keys" in refused(
        capsys, trained_uri, "--set", "serving.api_keys=missing.toml"
    )
    assert "serving.tls" in refused(capsys, trained_uri, "--set", "serving.tls=missing")
    open_to_all = refused(capsys, trained_uri, "--set", "serving.listen=0.0.0.0:8000")
    assert "serving.tls" in open_to_all
    assert "serving.api_keys" in open_to_all


def test_run_that_is_only_partitioned_is_told_what_comes_next(tmp_path, capsys):
    config = Config.model_validate({"run": {"uri": str(tmp_path / "run")}, **SETTINGS})
    run_partition(config, lambda *_: None)
    told = refused(capsys, config.run.uri)
    assert "are partitioned" in told
    assert "run `atoll train` and `atoll route`" in told
