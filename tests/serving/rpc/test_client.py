"""The client in Python and ``atoll generate``, of a service behind a real port."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
from PIL import Image

import atoll
from atoll.certs import certs
from atoll.client import Options
from atoll.config_file import save_config
from atoll.errors import (
    BadInput,
    Busy,
    Forbidden,
    NotDrawn,
    NotFound,
    Unreachable,
)
from atoll.generate import generate as command
from atoll.images import Accepted, Generated, Preview, Progress
from router.cli import sample
from router.recipe import read_recipe
from tests.serving.built import finished


@pytest.fixture(scope="module")
def client(served):
    with atoll.Client(served.address) as made:
        yield made


def generate(*arguments, cwd):
    """The command as a process."""
    return subprocess.run(
        [sys.executable, "-m", "atoll", "generate", *map(str, arguments)],
        capture_output=True,
        text=True,
        check=False,
        cwd=cwd,
        timeout=60,
    )


def test_client_draws_images_with_their_recipes(client, tmp_path):
    images = client.generate(class_=["3", "5"], n=3, seed=7, steps=4, strategy="top-2")
    assert [(it.index, it.seed, it.condition) for it in images] == [
        (0, 7, "3"),
        (1, 8, "5"),
        (2, 9, "3"),
    ]
    images[1].save(tmp_path / "five.png")
    recipe = read_recipe(tmp_path / "five.png")
    assert (recipe.seed, recipe.steps, recipe.strategy) == (8, 4, "top-2")
    assert images[1].recipe["checkpoints"] == recipe.checkpoints == client.about().checkpoints


def test_client_is_told_what_can_be_asked_for(client, served):
    about = client.about()
    assert (about.size, about.class_names[3], about.steps) == ((8, 8), "3", 3)
    assert (about.max_guidance, about.max_queue) == (100, served.run.config.serving.max_queue)
    assert "top-N" in about.strategies


def test_client_takes_every_option_there_is(client):
    options = {
        "n": 2,
        "seed": 1,
        "size": (8, 8),
        "solver": "heun",
        "steps": 2,
        "guidance": 2.0,
        "strategy": "full",
        "previews": 1,
        "priority": "low",
        "deadline_s": 60.0,
        "cancel_on_disconnect": True,
        "exact": True,
    }
    assert options.keys() == Options.__annotations__.keys()
    assert len(client.generate("3", **options)) == 2


def test_client_streams_what_happens(client, served, valve):
    valve.let(0)
    events = client.stream(class_=3, steps=4, previews=1)
    told = [next(events)]
    assert isinstance(told[0], Accepted)
    job = served.job(told[0].job)
    valve.let_until(lambda: job.view().images[0].preview_step)
    while not isinstance(told[-1], Preview):
        told.append(next(events))
    valve.let(None)
    told += events
    assert sum(isinstance(it, Preview) for it in told) == 1
    assert sum(len(it.weights) for it in told if isinstance(it, Progress)) == 4
    assert isinstance(told[-1], Generated)
    assert told[-1].condition == "3"


def test_client_that_closes_the_stream_cancels_and_one_that_does_not_can_watch_again(
    client, served
):
    events = client.stream(n=16, steps=250, cancel_on_disconnect=True)
    job = served.job(next(events).job)
    events.close()
    assert finished(job).state == "cancelled"

    events = client.stream(steps=20)
    name = next(events).job
    events.close()
    assert sum(isinstance(it, Generated) for it in client.watch(name)) == 1


@pytest.mark.parametrize(
    ("options", "named"),
    [
        ({"steps": 0}, "steps"),
        ({"steps": -1}, "from 1 to the service.s max_steps"),
        ({"seed": -1}, "from 0, below"),
        ({"n": 17}, "give 1 to 16"),
        ({"n": "many"}, "n = 'many'.* whole number"),
        ({"stps": 3}, "'stps'; there are prompt, class_, n"),
        ({"size": 8}, "size = 8"),
        ({"size": (512, 512)}, "8x8"),
        ({"size": (0, 0)}, r"size = \(0, 0\)"),
        ({"deadline_s": float("inf")}, "deadline_s = inf"),
        ({"prompt": 70_000 * "x"}, "prompt.* 70,0.* 64 KiB"),
        ({"priority": "urgent"}, "high, normal or low"),
        ({"class_": "eleven"}, "eleven"),
        ({"prompt": "a", "class_": "b"}, "both"),
    ],
)
def test_client_asked_for_what_cannot_be_had_names_the_option(client, options, named):
    with pytest.raises(BadInput, match=named):
        client.generate(**options)


def test_client_tells_errors_of_the_service_apart(client, served):
    with pytest.raises(NotFound):
        next(client.watch("nothing"))
    events = client.stream(n=16, steps=250)
    client.cancel(next(events).job)
    with pytest.raises(NotDrawn, match="cancelled"):
        list(events)
    with atoll.Client(served.address, api_key="guessed") as stranger, pytest.raises(Forbidden):
        stranger.about()
    with pytest.raises(BadInput) as caught:
        atoll.Client(served.address, api_key="two\nlines")
    assert "lines" not in str(caught.value)


def test_client_of_a_full_service_is_told_so_and_asks_nothing_twice(serve):
    served = serve(max_queue=4)
    with atoll.Client(served.address) as client:
        events = client.stream(n=4, steps=250, cancel_on_disconnect=True)
        next(events)
        with pytest.raises(Busy, match="max_queue"):
            client.generate()
        events.close()


def test_client_of_a_service_that_leaves_is_not_told_that_nobody_answers(serve):
    served = serve()
    served.service.drain(0)
    with atoll.Client(served.address) as client, pytest.raises(Unreachable) as caught:
        client.generate()
    assert "takes nothing: the service is about to end" in str(caught.value)


def test_client_that_is_closed_asks_nothing(served):
    client = atoll.Client(served.address)
    client.close()
    for call in (client.about, client.generate, lambda: client.cancel("job")):
        with pytest.raises(BadInput, match="is closed"):
            call()


@pytest.mark.parametrize("address", [8001, "localhost", "::1:8001"])
def test_client_of_what_is_no_address_says_how_one_is_written(address):
    with pytest.raises(BadInput, match=r"host:port, e\.g\. 127\.0\.0\.1:8001"):
        atoll.Client(address)


def test_client_given_no_authority_says_so_before_it_calls(tmp_path):
    (tmp_path / "keys.toml").write_text('ada = "0"\n')
    for name, why in (("none", "cannot be read"), ("keys.toml", "holds no certificate")):
        with pytest.raises(BadInput, match=rf"ca = .*{name}' {why}.*atoll certs"):
            atoll.Client("192.0.2.1:1", ca=tmp_path / name)


def test_client_of_nobody_says_who_does_not_answer(serve):
    served = serve()
    served.close()
    with atoll.Client(served.address) as client, pytest.raises(Unreachable, match=served.address):
        client.about()


def test_client_over_tls_trusts_the_authority_it_is_given_alone(serve, tmp_path):
    for folder in ("ours", "theirs"):
        certs(tmp_path / folder)
    served = serve(tls=str(tmp_path / "ours"))
    with atoll.Client(served.address, ca=tmp_path / "ours" / "ca.crt") as client:
        assert len(client.generate(seed=1)) == 1
    for ca in (None, tmp_path / "theirs" / "ca.crt"):
        with atoll.Client(served.address, ca=ca) as client, pytest.raises(Unreachable):
            client.about()


def test_command_writes_an_image_that_sample_draws_again(served, tmp_path):
    done = generate(
        "--class", "3", "--seed", 7, "-o", "out.png", "--json", "--at", served.address, cwd=tmp_path
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == [{"seed": 7, "condition": "3", "image": "out.png"}]
    save_config(served.run.store, served.run.config)
    sample(set_=[f"run.uri={served.run.uri}"], like=tmp_path / "out.png", out=tmp_path / "again")
    (again,) = (tmp_path / "again").glob("000007*.png")
    drawn = [np.asarray(Image.open(path)).astype(int) for path in (tmp_path / "out.png", again)]
    assert np.abs(drawn[0] - drawn[1]).max() <= 1


def test_command_numbers_several_images_and_shows_the_key_of_a_file(served, tmp_path):
    key = tmp_path / "key"
    key.write_text("key-of-ada\n")
    key.chmod(0o600)
    done = generate("-n", 2, "--key-file", "key", "--at", served.address, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert {path.name for path in tmp_path.glob("*.png")} == {"out-1.png", "out-2.png"}
    assert "key-of-ada" not in done.stderr + done.stdout


@pytest.mark.parametrize(
    ("arguments", "code", "named"),
    [(["--steps", 0], 2, "steps = 0"), (["--at", "127.0.0.1:1"], 1, "atoll serve")],
)
def test_command_that_fails_says_why_in_a_sentence(served, tmp_path, arguments, code, named):
    done = generate("--at", served.address, *arguments, cwd=tmp_path)
    assert done.returncode == code
    assert named in done.stderr
    assert done.stderr.startswith("atoll: ")
    assert done.stderr.count("\n") == 1
    assert not list(tmp_path.iterdir())


def test_command_with_a_key_that_does_not_count_does_not_show_it(served, tmp_path, monkeypatch):
    monkeypatch.setenv("ATOLL_API_KEY", "guessed")
    with pytest.raises(Forbidden) as caught:
        command(at=served.address, out=tmp_path / "out.png")
    assert "guessed" not in str(caught.value)


@pytest.mark.parametrize("out", ["out.jpg", "nowhere/out.png"])
def test_command_refuses_a_file_it_cannot_write_before_anything_is_drawn(tmp_path, out):
    with pytest.raises(BadInput, match="--out"):
        command(at="127.0.0.1:1", out=tmp_path / out)


def test_command_refuses_a_key_that_others_can_read(tmp_path):
    (tmp_path / "key").write_text("key-of-ada")
    (tmp_path / "key").chmod(0o644)
    with pytest.raises(BadInput, match="chmod 600"):
        command(at="127.0.0.1:1", out=tmp_path / "out.png", key_file=tmp_path / "key")


@pytest.mark.parametrize("key", ["", "two words", 'ada = "0"\nbob = "1"\n'])
def test_command_with_no_key_says_whence_it_was_to_come(tmp_path, monkeypatch, key):
    (tmp_path / "key").write_text(key)
    (tmp_path / "key").chmod(0o600)
    monkeypatch.setenv("ATOLL_API_KEY", key)
    with pytest.raises(BadInput, match="ATOLL_API_KEY holds no API key"):
        command(at="127.0.0.1:1", out=tmp_path / "out.png")
    with pytest.raises(BadInput, match=r"--key-file .*/key holds no API key"):
        command(at="127.0.0.1:1", out=tmp_path / "out.png", key_file=tmp_path / "key")
    with pytest.raises(BadInput, match=r"--key-file: .*/none cannot be read"):
        command(at="127.0.0.1:1", out=tmp_path / "out.png", key_file=tmp_path / "none")


def test_command_that_is_interrupted_has_the_service_draw_no_further(serve, tmp_path):
    served = serve()
    heeding = "import signal; signal.signal(signal.SIGINT, signal.default_int_handler); "
    with subprocess.Popen(
        [
            sys.executable,
            "-c",
            f"{heeding}from atoll.__main__ import main; main()",
            *["generate", "-n", "16", "--steps", "250", "--at", served.address],
        ],
        cwd=tmp_path,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        while not served.service.num_waiting:
            assert process.poll() is None
            time.sleep(0.05)
        process.send_signal(signal.SIGINT)
        _, error = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "the service draws no further" in error
    while served.service.num_waiting:  # its time limit is the test's
        time.sleep(0.05)
    assert not list(tmp_path.iterdir())
