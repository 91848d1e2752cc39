"""What SkyPilot's words on a cluster, its job and its launch mean for the node."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

from cluster.local import ending
from cluster.skypilot.task import ENDED

_UNDER_WAY = {"PENDING", "WAITING", "RUNNING"}  # of launches
_AHEAD = {"", "INIT", "PENDING", "SETTING_UP", "RUNNING"}  # of the end of jobs
_SPEAKER = re.compile(r"^\([^()]*pid=\d+\) ?")  # before each line that a job writes


@dataclass(frozen=True, slots=True)
class Seen:
    """What is known of a node.

    Attributes:
        cluster: as ``sky status`` has it; None if there is none.
        job: state of its agent's job; "" if there is none, None if nobody could look.
        launch: state of the request that makes the cluster; "" if nobody knows of it any more.
    """

    cluster: dict[str, Any] | None = None
    job: str | None = ""
    launch: str = ""

    @property
    def is_running(self) -> bool:
        """Whether its agent is at work."""
        return self.job == "RUNNING"

    @property
    def has_failed_to_launch(self) -> bool:
        """Whether its request can tell why there is no job."""
        return not self.job and self.launch == "FAILED"

    @property
    def has_last_words(self) -> bool:
        """Whether its job has ended, and left what it wrote."""
        return self.job is not None and self.job not in _AHEAD

    def end(self, words: str, failure: str) -> str:
        """How it ended; "" if it has not, or if nobody knows.

        Args:
            words: the last that its job wrote, as SkyPilot prints them.
            failure: why its launch failed.
        """
        if self.job:
            return _end_of_job(self.job, words) if self.has_last_words else ""
        if self.launch in _UNDER_WAY:
            return ""
        if self.launch == "FAILED":
            return f"could not be started: {failure}"
        if self.launch == "CANCELLED":
            return "its launch was cancelled"
        return self._end_of_cluster()

    def _end_of_cluster(self) -> str:
        state = self.cluster["status"] if self.cluster else ""
        if not state:
            return "preempted, or its cluster was taken down by others"
        if self.job is None or (state == "INIT" and self.launch == "SUCCEEDED"):
            return ""  # its agent may be well, although SkyPilot does not reach the node
        return {
            "INIT": "its launch was cut short",
            "UP": "SkyPilot made its node, and started nothing on it",
        }.get(state, f"its node was stopped ({state}): preempted, or by others")


def _end_of_job(state: str, words: str) -> str:
    if code := re.search(rf"{ENDED}(\d+)", words):
        number = int(code.group(1))
        return ending(128 - number if number > 128 else number)
    said = agents_words(words).splitlines()[-1:] or ["nothing"]
    return {
        "SUCCEEDED": ending(0),
        "FAILED_SETUP": f"its setup failed, and wrote last: {said[0]}",
        "CANCELLED": "its job was cancelled",
    }.get(state, f"its job is {state}, and SkyPilot does not tell why")


def agents_words(words: str) -> str:
    """What the agent itself wrote, of what SkyPilot prints of a job's log."""
    lines = [line for line in words.splitlines(keepends=True) if _SPEAKER.match(line)]
    return "".join(_SPEAKER.sub("", line) for line in lines if ENDED not in line)
