"""Following jobs past the ends of their orchestrators."""

from __future__ import annotations

import pytest

from atoll import layout
from atoll.clock import SystemClock
from atoll.config_file import read_config
from atoll.errors import Unreachable
from atoll.types import Ending, Outcome, Submission
from orchestrator.cli import launch
from orchestrator.cli.launch import Launch, run_jobs
from orchestrator.cli.live import Lines
from orchestrator.endpoint import identity, settings_of, this_process
from orchestrator.rpc.server import start_server

MOST = 2  # orchestrators that may end with nothing committed between
STEPS = 4


@pytest.fixture
def config(tmp_path):
    return read_config(None, [f"run.uri={tmp_path / 'run'}"])


@pytest.fixture
def follow(config, fleet, spec, monkeypatch):
    """Follows a job whose orchestrator ends, and has a successor, each time that it was looked at.

    Takes what is done to the job each time; returns the result.
    """
    monkeypatch.setattr(launch, "_MAX_CONNECTIONS", MOST)
    folder = layout.state_folder(config.run.uri)
    folder.mkdir(parents=True)
    servers = []

    def serve() -> None:
        server, address = start_server(fleet, "127.0.0.1:0", identity(folder))
        this_process(address, identity(folder), settings_of(config)).publish(folder)
        servers.append(server)

    def followed(each_time):
        class Restarts(SystemClock):
            def sleep(self, seconds: float) -> None:
                each_time()
                servers[-1].stop(grace=None).wait()
                serve()

        serve()
        jobs = [Submission(spec(steps=STEPS))]
        return run_jobs(Launch(config, jobs, clock=Restarts()), Lines(SystemClock()))

    yield followed
    for server in servers:
        server.stop(grace=None).wait()


def test_jobs_that_advance_are_followed_however_often_their_orchestrator_ends(follow, fleet, ref):
    steps = iter(range(1, STEPS + 1))

    def commit() -> None:
        answer = fleet.acquire("island-1", "r")
        step = next(steps)
        fleet.commit(answer.lease, ref(answer.lease, step))
        if step == STEPS:
            fleet.release(answer.lease, Outcome(Ending.FINISHED), "done")

    assert STEPS > MOST
    assert follow(commit)["expert-0"].step == STEPS


def test_jobs_that_do_not_advance_are_given_up_when_orchestrators_end_again_and_again(follow):
    with pytest.raises(Unreachable, match=f"died {MOST} times with no step committed between"):
        follow(lambda: None)


@pytest.mark.parametrize(
    "more", [["--set", "orchestrator.web=127.0.0.1:0"], ["--config", "a.toml"]]
)
def test_orchestrator_of_a_run_as_it_was_started_is_given_no_other_settings(tmp_path, atoll, more):
    code, _, told = atoll("orchestrator", "--run-uri", tmp_path, *more)
    assert code == 2
    assert "--run-uri: a run goes on as it was started; leave out --config and --set" in told
