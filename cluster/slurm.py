"""Islands as batch jobs of Slurm, by its own commands.

What is known of a node lies in Slurm itself: a job is named for its island, and its comment tells
run and key. So a later orchestrator finds it again, on whatever machine. A job that Slurm starts
again by itself, because its node failed or was wanted by another, is an island of another name:
``island-3`` is followed by ``island-3.1``.
"""

from __future__ import annotations

import functools
import os
import shlex
import shutil
import socket
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from atoll.config import Config
from atoll.errors import ConfigError, IslandError
from atoll.private_files import write_private
from cluster.local import AGENT_LOG, WORK, last_lines
from cluster.provider import Capabilities, Node, NodeSpec
from cluster.slurm_accounting import Accounting, note
from cluster.slurm_job import FIELDS, Job, parsed

_ANSWER_S = 60.0
_JOIN = "join"  # the token's file, in the folder of work that goes with the island
_WARNING_S = 30  # beyond the time for a last checkpoint
# Logs lie beside the folder of work, and nodes share that of the job.
_ON_EACH_NODE = 'exec "$@" --node "node-$SLURM_NODEID" --work-dir "$0/node-$SLURM_NODEID/work"'


class SlurmProvider:
    """See :class:`cluster.provider.Provider`."""

    def __init__(self, config: Config, label: str, folder: Path) -> None:
        """Submit jobs as a configuration asks.

        Args:
            config: of the run.
            label: its name; islands of others are called alike, and are none of its business.
            folder: for logs and work, at the same path on every node.
        """
        self._slurm, self._island, self._label = config.slurm, config.island, label
        self._folder = (Path(config.slurm.folder) if config.slurm.folder else folder).absolute()
        self._accounting = Accounting(self._folder, _of(label), _run)

    def capabilities(self) -> Capabilities:
        """See :class:`cluster.provider.Provider`; what one node has, only Slurm itself knows."""
        return Capabilities(num_gpus=64, elsewhere=self._elsewhere)

    @functools.cached_property
    def _elsewhere(self) -> bool:
        """Whether it has nodes besides this machine, as it may while it does not answer."""
        if _lost_configuration():
            return True
        try:
            hosts = set(_run(["sinfo", "--noheader", "--Node", "--format=%n"]).split())
        except IslandError:
            return True
        return not hosts <= {socket.gethostname(), socket.gethostname().partition(".")[0]}

    def validate(self, spec: NodeSpec) -> None:
        """See :class:`cluster.provider.Provider`; Slurm tests the request."""
        if shutil.which("sbatch") is None:
            raise ConfigError(
                'island.provider = "slurm" needs the commands sbatch, squeue and scancel here; run '
                "the orchestrator on a machine that submits jobs"
            )
        if lost := _lost_configuration():
            raise ConfigError(f"SLURM_CONF = {lost} is not there; name the cluster's slurm.conf")
        _run(["squeue", "--me", "--noheader"])  # who does not answer has refused nothing
        try:
            _run(["sbatch", "--test-only", *self._options(spec, "")], self._script(spec))
        except IslandError as error:
            raise ConfigError(
                f"Slurm takes no such job: {error}; see [slurm], island.device, "
                "island.processes and island.nodes"
            ) from error

    def submit(self, spec: NodeSpec, idempotency_key: str) -> Node:
        """See :class:`cluster.provider.Provider`."""
        comment = f"{_of(spec.label)}{idempotency_key}"
        former = [job for job in self._of_run(spec.label) if job.name == spec.island]
        if any(job.comment != comment for job in former):
            raise IslandError(f"{spec.island} was started before; islands are never reused")
        if not former:
            home = self._folder / spec.island
            try:
                (home / WORK).mkdir(mode=0o700, parents=True, exist_ok=True)
                if spec.token:  # Slurm keeps scripts, and may archive them
                    write_private(home / WORK / _JOIN, spec.token.encode())
            except OSError as error:
                raise IslandError(f"{home} cannot be made: {error.strerror}") from error
            asked = ["sbatch", "--parsable", *self._options(spec, comment)]
            number = _run(asked, self._script(spec)).strip().partition(";")[0]  # the cluster's name
            note(home, number, comment)
        return Node(spec.island, alive=True, waiting=True)

    def list(self, label: str) -> tuple[Node, ...]:
        """See :class:`cluster.provider.Provider`; in the end Slurm forgets, without accounting."""
        jobs = self._jobs()
        jobs = [*jobs, *self._accounting.ended(jobs)]
        return tuple(self._node(job) for job in jobs if job.comment.startswith(_of(label)))

    def logs(self, island: str, num_lines: int) -> str:
        """See :class:`cluster.provider.Provider`."""
        return last_lines(self._folder / island.partition(".")[0] / AGENT_LOG, num_lines)

    def cancel(self, island: str) -> None:
        """See :class:`cluster.provider.Provider`."""
        for job in self._alive(island):
            _run(["scancel", job.number])
        shutil.rmtree(self._folder / island.partition(".")[0] / WORK, ignore_errors=True)

    def _node(self, job: Job) -> Node:
        """As a provider tells of it; whether Atoll cancelled it, the folder of its work tells."""
        cleared = job.is_over and not (self._folder / job.name / WORK).exists()
        return Node(job.island, not job.is_over, job.reason, cleared, job.is_waiting)

    def _alive(self, island: str) -> Sequence[Job]:
        mine = self._of_run(self._label)
        return [job for job in mine if job.island == island and not job.is_over]

    def _of_run(self, label: str) -> Sequence[Job]:
        return [job for job in self._jobs() if job.comment.startswith(_of(label))]

    def _jobs(self) -> Sequence[Job]:
        """All of this user that Slurm still knows."""
        fields = ",".join(f"{name}:{width}" for name, width in FIELDS.items())
        told = _run(["squeue", "--me", "--noheader", "--states=all", "--Format", fields])
        return [parsed(line) for line in told.splitlines() if line.strip()]

    def _options(self, spec: NodeSpec, comment: str) -> Sequence[str]:
        slurm, island, has_one = self._slurm, self._island, spec.num_nodes == 1
        signal = f"TERM@{round(island.drain_s) + _WARNING_S}"
        wanted = {
            "--job-name": spec.island,
            "--comment": comment,
            "--output": str(self._folder / spec.island / AGENT_LOG),
            "--open-mode": "append",
            "--nodes": "1" if has_one else f"{spec.min_nodes}-{spec.num_nodes}",
            "--ntasks": "1" if has_one else "",
            "--cpus-per-task": self._cpus,
            "--signal": f"B:{signal}" if has_one else signal,
            "--partition": slurm.partition,
            "--account": slurm.account,
            "--qos": slurm.qos,
            "--constraint": slurm.constraint,
            "--time": str(slurm.time_limit_min or ""),
            "--mem": f"{slurm.memory_gb}G" if slurm.memory_gb else "",
            "--gres": f"gpu:{spec.num_gpus}" if spec.num_gpus else "",
        }
        options = [f"{name}={value}" for name, value in wanted.items() if value]
        options += [] if has_one else ["--no-kill"]  # the nodes that are left go on
        return [*options, "--requeue" if slurm.requeue else "--no-requeue", *slurm.options]

    @property
    def _cpus(self) -> str:
        """Of a node."""
        return str(self._slurm.cpus or self._island.processes * self._island.threads)

    def _script(self, spec: NodeSpec) -> str:
        """What runs on the node."""
        work = self._folder / spec.island / WORK
        python = self._slurm.python or sys.executable
        agent = shlex.join([python, "-P", "-m", "atoll", "agent", *spec.agent])
        agent += f' --island {shlex.quote(spec.island)}"$again"'
        if spec.endpoint and not self._elsewhere:
            agent += f" --endpoint {shlex.quote(spec.endpoint)}"
        agent += f" --join {shlex.quote(str(work / _JOIN))}" if spec.token else ""
        if spec.num_nodes == 1:
            start = f'exec {agent} --work-dir "$work"'
        else:
            step = f"--nodes=$SLURM_JOB_NUM_NODES --ntasks-per-node=1 --cpus-per-task={self._cpus}"
            each = f"exec srun {step} --no-kill --kill-on-bad-exit=0 --wait=0 --unbuffered --label"
            start = f'{each} bash -c {shlex.quote(_ON_EACH_NODE)} "$work" {agent}'
        return f"""#!/bin/bash
umask 077
again=${{SLURM_RESTART_COUNT:+.$SLURM_RESTART_COUNT}}
work={shlex.quote(str(work))}/start$again
mkdir "$work" || exit
{self._slurm.setup}
{start}
"""


def _lost_configuration() -> str:
    """What SLURM_CONF names if nothing is there: Slurm's commands would look for a minute."""
    named = os.environ.get("SLURM_CONF", "")
    return named if named and not Path(named).exists() else ""


def _of(label: str) -> str:
    """How the comments of a run's jobs begin."""
    return f"atoll {label} "


def _run(command: list[str], text: str = "") -> str:
    """What one of Slurm's commands prints. Raises: IslandError with what it says is wrong."""
    # Jobs inherit the environment, and have no business with the orchestrator's PostgreSQL.
    environment = {name: it for name, it in os.environ.items() if not name.startswith("PG")}
    try:
        ended = subprocess.run(
            command,
            input=text,
            env=environment,
            capture_output=True,
            text=True,
            check=False,
            timeout=_ANSWER_S,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise IslandError(f"{command[0]} does not answer: {error}") from error
    if ended.returncode:
        said = ended.stderr.strip().splitlines()[-1:] or [f"exit code {ended.returncode}"]
        raise IslandError(f"{command[0]}: {said[0].removeprefix(f'{command[0]}: ')}")
    return ended.stdout
