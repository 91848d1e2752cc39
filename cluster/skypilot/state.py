"""What SkyPilot's words on a cluster, its job and its launch mean for the island."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

from cluster.local import ending
from cluster.skypilot.task import ENDED

_UNDER_WAY = {"PENDING", "WAITING", "RUNNING"}  # of launches
_AHEAD = {"", "INIT", "PENDING", "SETTING_UP", "RUNNING"}  # of the end of jobs
# Before each line that a job writes; its rank where it runs on several machines.
_SPEAKER = re.compile(r"^\((?:[^()]*rank=(?P<rank>\d+), )?[^()]*pid=\d+[^()]*\) ?")
_ENDED = re.compile(rf"{ENDED}(\d+)\s*$", re.MULTILINE)
_LOST = re.compile("nodes terminated|not all nodes are stopped")  # why a cluster is not whole


@dataclass(frozen=True, slots=True)
class Seen:
    """What is known of an island.

    Attributes:
        cluster: as ``sky status`` has it; None if there is none.
        job: state of its agents' job; "" if there is none, None if nobody could look.
        launch: state of the request that makes the cluster; "" if nobody knows of it any more.
    """

    cluster: dict[str, Any] | None = None
    job: str | None = ""
    launch: str = ""

    @property
    def is_running(self) -> bool:
        """Whether its agents are at work."""
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
        if self.cluster and _LOST.search(self.cluster.get("init_status_reason") or ""):
            return "one of its machines was preempted, or stopped by others"
        if self.job is None or (state == "INIT" and self.launch == "SUCCEEDED"):
            return ""  # its agent may be well, although SkyPilot does not reach the node
        return {
            "INIT": "its launch was cut short",
            "UP": "SkyPilot made its node, and started nothing on it",
        }.get(state, f"its node was stopped ({state}): preempted, or by others")


def _end_of_job(state: str, words: str) -> str:
    codes = [int(number) for number in _ENDED.findall(words)]
    if codes:
        ends = (ending(128 - code if code > 128 else code) for code in codes)
        return "; ".join(dict.fromkeys(ends))
    said = agents_words(words).splitlines()[-1:] or ["nothing"]
    return {
        "SUCCEEDED": ending(0),
        "FAILED_SETUP": f"its setup failed, and wrote last: {said[0]}",
        "CANCELLED": "its job was cancelled",
    }.get(state, f"its job is {state}, and SkyPilot does not tell why")


def agents_words(words: str) -> str:
    """What the agents themselves wrote, of what SkyPilot prints of a job's log; of several, who."""
    lines = [line for line in words.splitlines(keepends=True) if _SPEAKER.match(line)]
    return "".join(_SPEAKER.sub(_name, line) for line in lines if ENDED not in line)


def _name(speaker: re.Match[str]) -> str:
    return f"node-{speaker['rank']}: " if speaker["rank"] else ""
