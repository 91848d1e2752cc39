"""``atoll watch``: a run as it goes on, until it is over."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator

from atoll.clock import SystemClock
from atoll.command import ConfigOption, JsonOption, SetOption
from atoll.config_file import run_config
from atoll.control import ControlClient
from atoll.errors import BadInput, Interrupted, Unreachable
from orchestrator.cli.event_feed import EventFeed
from orchestrator.cli.live import Pace
from orchestrator.cli.overview import Sight, sight_of

_LOOK_S = 0.5
_LAST_WORDS_S = 3.0
_FORMER_EVENTS = 8
_TRIES = 5  # an orchestrator that is started again, or takes over, serves by then


def watch(config: ConfigOption = None, set_: SetOption = None, json_: JsonOption = False) -> None:
    """Show jobs, leases, islands and events live until the run is over; Ctrl-C leaves it alone.

    On a terminal tables that are drawn anew in place, elsewhere a line for each change. With --json
    one object on a line for each change of a job or an island, and for each event.
    """
    from orchestrator.connect import find

    settings = run_config(config, set_ or ())
    client = find(settings)
    if client is None:
        raise BadInput(
            f"nothing is at work in {settings.run.uri}; `atoll status` tells how it ended"
        )
    with _left_alone(), sight_of(settings.run.uri, Pace(SystemClock()), as_json=json_) as shown:
        told, num_missed = -1, 0
        while num_missed <= _TRIES:
            if client is not None:
                with client, contextlib.suppress(Unreachable):  # another one may follow
                    num_missed = 0
                    last = client.fleet().last_event
                    feed = EventFeed(client, max(0, last - _FORMER_EVENTS) if told < 0 else told)
                    try:
                        _follow(client, feed, shown)
                    finally:
                        told = feed.number
                    return
            time.sleep(1.0)
            client, num_missed = None, num_missed + 1
            with contextlib.suppress(Unreachable):
                client = find(settings)
        shown.tell("no orchestrator runs any more; `atoll status` tells what it wrote down last")


@contextlib.contextmanager
def _left_alone() -> Iterator[None]:
    """Inside, Ctrl-C ends the looking, and says that nothing else has ended."""
    try:
        yield
    except KeyboardInterrupt as error:
        raise Interrupted("looks on no longer; the run goes on") from error


def _follow(client: ControlClient, feed: EventFeed, shown: Sight) -> None:
    """Show a run to its end, and then the last events."""
    give_up_at = time.monotonic() + _LAST_WORDS_S
    while True:
        view = client.fleet()
        for event in feed.take():
            shown.happened(event)
        shown.show(view)
        if any(job.state.is_open for job in view.jobs):
            give_up_at = time.monotonic() + _LAST_WORDS_S
        elif feed.number >= view.last_event or time.monotonic() > give_up_at:
            return
        time.sleep(_LOOK_S)
