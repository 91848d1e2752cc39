"""The calls that traces go through, over a real connection."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest

from atoll import layout
from atoll.control import ControlClient
from atoll.errors import LeaseLost, Refused
from atoll.traces import Trace
from atoll.types import Ending, Outcome, Progress, Submission


@pytest.fixture
def asking(address):
    """Somebody who asks for a trace of three steps, and waits for it, until the end of the test."""
    with ThreadPoolExecutor() as pool, ControlClient(address, "run") as operator:
        yield lambda: pool.submit(operator.trace, "expert-0", 3)


def beat_until_wanted(agent, lease):
    while agent.trace_wanted is None:
        agent.heartbeat(lease, Progress(1, 0.5, 1.0))
    return agent.trace_wanted


def test_trace_comes_to_who_asks_for_it_and_is_wanted_no_longer(agent, lease, asking):
    agent.heartbeat(lease, Progress(1, 0.5, 1.0))
    assert agent.trace_wanted is None
    answer = asking()
    wish = beat_until_wanted(agent, lease)
    assert wish.steps == 3
    made = Trace(wish.id, layout.trace("expert-0", 4, wish.id))
    agent.send_trace(lease, Trace("another wish", layout.trace("expert-0", 2, "another")))
    with pytest.raises(Refused, match="profiles/x is no folder of a trace of expert-0"):
        agent.send_trace(lease, Trace(wish.id, "profiles/x"))
    agent.send_trace(lease, made)
    assert answer.result() == made
    agent.heartbeat(lease, Progress(1, 0.5, 1.0))
    assert agent.trace_wanted is None


def test_trace_that_was_not_made_is_told_with_the_reason_in_one_line(agent, lease, asking):
    answer = asking()
    wish = beat_until_wanted(agent, lease)
    agent.send_trace(lease, Trace(wish.id, trouble="no\nspace " * 1000))
    said = answer.result()
    assert said.key == ""
    assert said.trouble.startswith("no space no space ")
    assert len(said.trouble) == 1000


def test_second_wish_for_a_job_is_refused_until_the_first_is_answered(
    agent, operator, lease, asking
):
    answer = asking()
    wish = beat_until_wanted(agent, lease)
    with pytest.raises(Refused, match="expert-0 is being traced already; ask again when"):
        operator.trace("expert-0", 5)
    agent.send_trace(lease, Trace(wish.id, layout.trace("expert-0", 4, wish.id)))
    answer.result()


def test_trace_of_a_job_that_goes_elsewhere_meanwhile_is_refused(agent, lease, asking):
    answer = asking()
    wish = beat_until_wanted(agent, lease)
    agent.release(lease, Outcome(Ending.DRAINED), "r")
    agent.acquire("island-2", "r2")
    with pytest.raises(
        Refused, match=r"went to another island before .*|only a job that is worked"
    ):
        answer.result()
    with pytest.raises(LeaseLost, match="does not work on expert-0 any more"):
        agent.send_trace(lease, Trace(wish.id, trouble="late"))


def test_trace_of_nobody_of_an_idle_job_and_of_no_steps_is_refused(operator, spec):
    operator.submit([Submission(spec())])
    with pytest.raises(Refused, match=r"no job is called 'nobody'; there is expert-0"):
        operator.trace("nobody", 5)
    with pytest.raises(Refused, match=r"expert-0 is waiting .*; only a job that is worked on"):
        operator.trace("expert-0", 5)
    for steps in (0, 101):
        with pytest.raises(Refused, match="steps"):
            operator.trace("expert-0", steps)
