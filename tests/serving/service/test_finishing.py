"""A service of latents: images are decoded beside the drawing, and shown in pixels."""

import threading
from dataclasses import replace
from weakref import WeakValueDictionary

import numpy as np
import pytest
import torch

from atoll.clock import SystemClock
from atoll.errors import BadInput, BlobDamaged
from router.load import load_ensemble
from router.sampling import Wanted
from serving.engine.events import Done, Failed, Preview, Progress
from serving.service.finishing import Finishing
from serving.service.job import Job
from serving.service.order import Order
from tests.latent_run import copied, train_latent_run
from tests.serving.built import Built, finished, until
from tests.serving.conftest import CPU


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    return train_latent_run(tmp_path_factory.mktemp("latents"))


@pytest.fixture
def built(trained):
    built = Built(trained)
    built.service.start()
    yield built
    built.close()


def test_service_of_latents_shows_pixels_as_the_sampler_decodes_them(built, trained):
    assert built.first.menu.shape == (1, 8, 8)
    order = Order(("3",), num=2, seed=7, strategy="top-1", size=(8, 8), previews=2)
    view = finished(built.service.order(order, "me"))
    sampler = load_ensemble(trained.store, trained.config, trained.folder / "cache", CPU)
    expected = sampler.sampler("top-1").draw(
        Wanted([7, 8], torch.tensor([3, 3])), trained.config.sampling
    )
    assert (view.state, expected.shape) == ("done", (2, 8, 8, 1))
    assert np.abs(np.stack([it.image for it in view.images]).astype(int) - expected).max() <= 1


class Held:
    """Decodes what a service has painted, once the test lets it."""

    def __init__(self, built):
        self.going_on, self.threads = threading.Event(), []
        self._menu = built.first.menu
        object.__setattr__(built.first, "menu", replace(self._menu, decode=self.decode))

    def decode(self, x):
        self.threads.append(threading.current_thread().name)
        assert self.going_on.wait(60)
        return self._menu.decode(x)


def test_engine_draws_on_while_an_image_is_decoded(built):
    held = Held(built)
    first = built.service.order(Order(("1",), seed=1), "me")
    until(lambda: held.threads)
    second = built.service.order(Order(("2",), seed=2), "me")
    until(lambda: not built.first.engine.num_images)  # all is drawn, and nothing decoded
    assert {first.view().state, second.view().state} <= {"queued", "running"}
    held.going_on.set()
    assert [finished(job).state for job in (first, second)] == ["done", "done"]
    assert set(held.threads) == {"decoding"}


@pytest.mark.parametrize(
    ("stop", "expected"),
    [
        (lambda service, job: service.cancel(job.name, "me"), ("cancelled", False)),
        (lambda service, _: service.give_up(), ("failed", True)),
    ],
)
def test_job_that_is_stopped_once_it_is_drawn_is_not_done_without_its_images(built, stop, expected):
    held = Held(built)
    job = built.service.order(Order(("1",), num=2, seed=1), "me")
    until(lambda: held.threads and not built.first.engine.num_images)
    stopping = threading.Thread(target=stop, args=(built.service, job))
    stopping.start()
    until(lambda: job.is_stopped)
    held.going_on.set()
    view = finished(job)
    stopping.join()
    assert ((view.state, view.is_given_up), view.is_late) == (expected, False)
    assert [image.image is None for image in view.images] == [False, True]
    assert [(it.done, it.failed) for it in built.service.editions()] == [(0, 0)]


class Heard:
    """What a thread that decodes passes on; the test may have some of it raise."""

    def __init__(self, raises=()):
        self.events, self.cancelled, self._raises = [], [], raises
        self.finishing = Finishing(self._hear, self.cancelled.append)

    def _hear(self, job, event):
        self.events.append((job.name, event))
        if isinstance(event, self._raises):
            raise RuntimeError("not to be heard")  # noqa: TRY004 - nothing is wrong with its type

    def take(self, *events, name="job"):
        """Events of a job of latents; started before or afterwards."""
        job = Job(name, "me", (), SystemClock(), 1.0, decode=lambda x: x)
        for event in events:
            self.finishing.take(job, event)


def test_end_that_cannot_be_heard_ends_its_job_and_not_the_thread():
    heard = Heard(raises=(Done, Failed))
    heard.finishing.start()
    heard.take(Done())
    progress = Progress(0, 1, 2, (1.0,))
    heard.take(progress)  # the next one of that name is another job
    heard.finishing.close()
    failed = Failed("decoding broke off with RuntimeError; ask again")
    assert [event for _, event in heard.events] == [Done(), failed, progress]
    assert heard.cancelled == ["job"]


def test_previews_are_left_out_behind_many_pictures_and_not_behind_other_events():
    preview, progress = Preview(0, 1, torch.zeros(1)), Progress(0, 1, 2, (1.0,))
    heard = Heard()
    heard.take(preview, *[progress] * 20)
    heard.finishing.start()
    heard.finishing.close()
    assert heard.events[0] == ("job", preview)
    heard = Heard()
    heard.take(*[preview] * 12)
    heard.finishing.start()
    heard.finishing.close()
    assert len(heard.events) == 9


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (RuntimeError("of no use"), "decoding broke off with RuntimeError; ask again"),
        (
            BadInput("it has no weights; give some"),
            "decoding broke off: it has no weights; give some",
        ),
    ],
)
def test_image_that_cannot_be_decoded_fails_its_job_and_no_other(built, error, reason):
    menu, tried = built.first.menu, []

    def failing(x):
        tried.append(len(tried))
        if len(tried) == 1:
            raise error
        return menu.decode(x)

    object.__setattr__(built.first, "menu", replace(menu, decode=failing))
    broken = finished(built.service.order(Order(("1",), num=3, seed=1), "me"))
    assert (broken.state, broken.reason) == ("failed", reason)
    assert finished(built.service.order(Order(("1",), seed=1), "me")).state == "done"
    assert built.service.is_healthy


def test_edition_whose_autoencoder_is_damaged_is_refused_before_anybody_asks(
    trained, tmp_path, monkeypatch
):
    monkeypatch.setattr("experts.decoding._shared", WeakValueDictionary())  # as in a new process
    run = copied(trained, tmp_path)
    (weights,) = (tmp_path / "run" / "models").glob("*/*.safetensors")
    weights.write_bytes(weights.read_bytes()[:-1] + b"?")
    with pytest.raises(BlobDamaged, match="safetensors"):
        Built(run)


def test_editions_share_their_autoencoder(built):
    decoders = built.first.menu.decode, built.load(holder=built.first.holder).menu.decode
    assert decoders[0] is not decoders[1]
    assert decoders[0]._loaded[0] is decoders[1]._loaded[0]
