"""Islands as nodes of clouds, by the command line of SkyPilot.

Each island is a cluster. Its labels tell run, island and key, so that a later orchestrator finds
it again wherever SkyPilot's server is the same. SkyPilot looks for a place that has room for all of
its nodes, once; whatever happens to them afterwards is the orchestrator's to mend.
"""

from __future__ import annotations

import json
import logging
import re
import shutil
import tempfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from atoll.config import Config
from atoll.errors import ConfigError, IslandError
from atoll.private_files import write_private
from cluster.local import AGENT_LOG, last_lines
from cluster.provider import Capabilities, Node, NodeSpec
from cluster.skypilot.command import Sky, sentence_of
from cluster.skypilot.records import Record, Records
from cluster.skypilot.state import Seen, agents_words
from cluster.skypilot.task import KEY_LABEL, cluster_name, key_id, task_of
from cluster.skypilot.view import JOB, View

log = logging.getLogger(__name__)

_LAST_LINES = 100
_TASK = "task.yaml"
_TOKEN = "join-token.pem"  # noqa: S105 - the name of its file


class SkypilotProvider:
    """See :class:`cluster.provider.Provider`."""

    def __init__(self, config: Config, label: str, folder: Path) -> None:
        """Ask SkyPilot as a configuration says.

        Args:
            config: of the run.
            label: its name; islands of others are called alike, and are none of its business.
            folder: for what has to be remembered here.
        """
        self._config, self._label = config, label
        self._folder = folder.absolute()
        self._sky = Sky(config.skypilot.command)
        self._view = View(self._sky, label)
        self._records = Records(self._folder)
        self._up: set[str] = set()  # whose machines have been seen to be there
        self._running: set[str] = set()  # whose agents have been seen at work

    def capabilities(self) -> Capabilities:
        """See :class:`cluster.provider.Provider`."""
        numbers = [int(name.partition(":")[2]) for name in self._config.skypilot.any_of]
        return Capabilities(num_gpus=min(numbers, default=0), elsewhere=True)

    def validate(self, spec: NodeSpec) -> None:
        """See :class:`cluster.provider.Provider`; SkyPilot rehearses the launch."""
        sky = self._config.skypilot
        if shutil.which(sky.command) is None:
            raise ConfigError(
                f'skypilot.command = "{sky.command}" is no program here; install SkyPilot into an '
                "environment of its own (see docs/skypilot.md), and give the path of its sky"
            )
        if spec.num_gpus > (most := self.capabilities().num_gpus):
            raise ConfigError(
                f"island.device = cuda needs {spec.num_gpus} GPUs for island.processes, and "
                f"skypilot.any_of may bring {most}; name as many, e.g. H100:{spec.num_gpus}"
            )
        if sky.wheel and not Path(sky.wheel).is_file():
            raise ConfigError(f"skypilot.wheel: there is no {sky.wheel}; build it with make wheel")
        self._view.clusters()  # who does not answer has refused nothing
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "task.yaml"
            path.write_text(json.dumps(task_of(self._config, replace(spec, token=""), "", None)))
            name = cluster_name(spec.label, spec.island)
            try:
                self._sky.tell("launch", "--dryrun", "--yes", "--cluster", name, str(path))
            except IslandError as error:
                raise ConfigError(
                    f"SkyPilot takes no such task: {error}; see [skypilot] and island.nodes"
                ) from error

    def submit(self, spec: NodeSpec, idempotency_key: str) -> Node:
        """See :class:`cluster.provider.Provider`."""
        island, key = spec.island, key_id(idempotency_key)
        self._adopt(self._view.clusters())
        former = self._records.get(island)
        if former is not None and former.key != key:
            raise IslandError(f"{island} was started before; islands are never reused")
        if former is None:
            try:
                # Another machine's may be on its way, whose cluster is not to be seen yet.
                request = self._view.request_of(island) or self._launched(spec, idempotency_key)
                self._records.put(island, Record(key, request))
            except OSError as error:
                raise IslandError(f"{island} could not be started: {error}") from error
        return self._node(island)

    def list(self, label: str) -> tuple[Node, ...]:
        """See :class:`cluster.provider.Provider`."""
        if label != self._label:
            return ()
        living = self._records.living()
        # First: what is launched by now has its cluster in the answer to the next question.
        launches = self._view.launches(
            {name: self._request_of(name) for name in living if name not in self._running}
        )
        clusters = self._view.clusters("--refresh")
        up = [name for name in living if clusters.get(name, {}).get("status") == "UP"]
        self._up.update(up)
        jobs = self._view.jobs(up)
        ends = {}
        for name in living:
            launch = launches.get(name, "SUCCEEDED")  # of those that run nobody has asked
            seen = Seen(clusters.get(name), jobs.get(name, ""), launch)
            if reason := self._end_of(name, seen):
                ends[name] = reason
        self._bury(ends, [name for name in ends if name in clusters])
        self._adopt(clusters)
        return tuple(map(self._node, self._records.all()))

    def logs(self, island: str, num_lines: int) -> str:
        """See :class:`cluster.provider.Provider`; of the living SkyPilot is asked."""
        record = self._records.get(island)
        if record is None or record.reason:
            return last_lines(self._folder / island / AGENT_LOG, num_lines)
        words = agents_words(self._sky.last_words(self._name(island), JOB, num_lines))
        return "".join(words.splitlines(keepends=True)[-num_lines:])

    def cancel(self, island: str) -> None:
        """See :class:`cluster.provider.Provider`."""
        record = self._records.get(island)
        if record is None or not record.reason:
            if request := self._request_of(island):
                # First, or what is not there yet would be made after it was taken down.
                self._sky.tell("api", "cancel", request)
            if left := self._take_down([island]):
                raise IslandError(left[island])
        if record is not None:
            self._records.close(island, "it was cancelled", cleared=True)
        self._forget_token(island)

    def _launched(self, spec: NodeSpec, key: str) -> str:
        """Ask for its cluster; the request that makes it. Raises: IslandError, OSError."""
        home = self._folder / spec.island
        home.mkdir(parents=True, exist_ok=True)
        if spec.token:
            write_private(home / _TOKEN, spec.token.encode())
        task = task_of(self._config, spec, key, home / _TOKEN if spec.token else None)
        (home / _TASK).write_text(json.dumps(task, indent=1), encoding="utf-8")
        where = ("--cluster", self._name(spec.island))
        try:
            said = self._sky.tell(
                "launch", "--yes", "--detach-run", "--async", *where, str(home / _TASK)
            )
        except IslandError:
            self._forget_token(spec.island)
            raise
        request = re.search(r"Submitted sky\.launch request: (\S+)", said)
        return request.group(1) if request else ""

    def _name(self, island: str) -> str:
        return cluster_name(self._label, island)

    def _request_of(self, island: str) -> str:
        """The request that makes its cluster; "" if nobody knows of one."""
        record = self._records.get(island)
        return record.request if record and record.request else self._view.request_of(island)

    def _adopt(self, clusters: dict[str, Any]) -> None:
        """Remember those that another machine's orchestrator has started."""
        for island, cluster in clusters.items():
            if self._records.get(island) is None:
                self._records.put(island, Record(cluster["labels"][KEY_LABEL]))

    def _end_of(self, island: str, seen: Seen) -> str:
        """How it ended, with its last words kept; "" if it has not."""
        words = failure = ""
        if seen.job:
            self._forget_token(island)  # the node has it
        if seen.is_running:
            self._running.add(island)
        if seen.has_last_words:
            words = self._sky.last_words(self._name(island), JOB, _LAST_LINES)
            kept = self._folder / island / AGENT_LOG
            kept.write_text(agents_words(words), encoding="utf-8")
        if seen.has_failed_to_launch:
            failure = self._sky.failure_of(self._request_of(island))
        return seen.end(words, failure)

    def _bury(self, ends: dict[str, str], there: Sequence[str]) -> None:
        """Nobody is dead while a cluster of it is billed: an orchestrator leaves the dead behind.

        Args:
            ends: how each ended.
            there: those of them that have a cluster.
        """
        left = self._take_down(there)
        for island, why in left.items():
            log.warning("tries again", extra={"fields": {"island": island, "why": why}})
        for island in ends.keys() - left.keys():
            self._records.close(island, ends[island])
            self._forget_token(island)

    def _take_down(self, islands: Sequence[str]) -> dict[str, str]:
        """Take clusters down; those that are still there, and why."""
        if not islands:
            return {}
        said = self._sky.tell("down", "--yes", *map(self._name, islands))
        left = self._view.clusters()  # its exit code says nothing of failures
        return {
            island: f"sky down: {self._name(island)} is still there: {sentence_of(said)}"
            for island in islands
            if island in left
        }

    def _forget_token(self, island: str) -> None:
        (self._folder / island / _TOKEN).unlink(missing_ok=True)

    def _node(self, island: str) -> Node:
        record = self._records.all()[island]
        waiting = not record.reason and island not in self._running
        return Node(
            island,
            alive=not record.reason,
            reason=record.reason,
            cleared=record.cleared,
            waiting=waiting,
            in_setup=waiting and island in self._up,
        )
