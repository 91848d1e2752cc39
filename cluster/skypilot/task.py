"""What SkyPilot is asked for: one task for each island, on a cluster of its own."""

from __future__ import annotations

import hashlib
import itertools
import shlex
from pathlib import Path
from typing import Any

from atoll.config import Config
from atoll.provider_sections import SkypilotSection
from cluster.provider import NodeSpec

RUN_LABEL, ISLAND_LABEL, KEY_LABEL = "atoll-run", "atoll-island", "atoll-key"
ENDED = "atoll: the agent has ended with exit code "  # the last line of its node

_NODE_SCRIPT = Path(__file__).parents[1] / "node.sh"
_WORK = "~/.atoll/node-$SKYPILOT_NODE_RANK/work"  # not all nodes have a home of their own
_PAUSES_S = (10, 60, 300)  # before an agent that broke is started again, where it has others
# Exit codes of agents that left, were called wrongly, found no orchestrator, or were told to leave
# before they could heed it.
_FINAL = (0, 2, 5, 128 + 15)


def run_id(label: str) -> str:
    """A run's label as clouds take it: they allow few characters, and not many."""
    return _short(label, 12)


def cluster_name(label: str, island: str) -> str:
    """The same on every machine, so that nobody starts an island twice."""
    return f"atoll-{_short(label, 8)}-{island}"


def key_id(key: str) -> str:
    """An idempotency key as clouds take it."""
    return _short(key, 12)


def task_of(config: Config, spec: NodeSpec, key: str, token: Path | None) -> dict[str, Any]:
    """A task as SkyPilot reads it, free of secrets: it shows tasks to whoever asks for them.

    Args:
        config: of the run.
        spec: what is to run.
        key: the idempotency key.
        token: the file here that holds the join token; SkyPilot copies it to the node.
    """
    sky = config.skypilot
    labels = {RUN_LABEL: run_id(spec.label), ISLAND_LABEL: spec.island, KEY_LABEL: key_id(key)}
    resources: dict[str, Any] = {"labels": labels, **_choices(sky)}
    if sky.cpus or not sky.any_of:
        resources["cpus"] = f"{sky.cpus or config.island.processes * config.island.threads}+"
    if sky.memory_gb:
        resources["memory"] = f"{sky.memory_gb}+"
    if sky.disk_gb:
        resources["disk_size"] = sky.disk_gb
    if sky.image:
        resources["image_id"] = sky.image
    if sky.autodown_min:
        resources["autostop"] = {"idle_minutes": sky.autodown_min, "down": True}
    task: dict[str, Any] = {"name": spec.island, "resources": resources}
    task["run"] = _script(sky, spec)
    if spec.num_nodes > 1:
        task["num_nodes"] = spec.num_nodes
    if setup := _setup(sky, spec):
        task["setup"] = setup
    if files := _files(sky, token):
        task["file_mounts"] = files
    return task


def _choices(sky: SkypilotSection) -> dict[str, Any]:
    """Spot before on demand, then place after place, and at each what is liked best first."""
    choices = [
        {
            "use_spot": spot,
            **({"infra": place} if place else {}),
            **({"accelerators": accelerators} if accelerators else {}),
        }
        for spot, place, accelerators in itertools.product(
            (True, False) if sky.spot else (False,), sky.places or ("",), sky.any_of or ("",)
        )
    ]
    return choices[0] if len(choices) == 1 else {"ordered": choices}


def _files(sky: SkypilotSection, token: Path | None) -> dict[str, str]:
    """Which files the node gets, by their path there."""
    files = {"~/.atoll/join.pem": str(token)} if token else {}
    if sky.wheel:
        wheel = Path(sky.wheel).absolute()
        files |= {f"~/.atoll/{wheel.name}": str(wheel), "~/.atoll/node.sh": str(_NODE_SCRIPT)}
    return files


def _setup(sky: SkypilotSection, spec: NodeSpec) -> str:
    """What makes a node ready, while it still counts as being made; "" for nothing."""
    lines = [sky.setup] if sky.setup else []
    if sky.wheel:
        # One node after the other, because they may share their home.
        lock = "flock ~/.atoll/installing " if spec.num_nodes > 1 else ""
        lines.append(f"{lock}{_agent(sky)} --help >/dev/null")  # installs, and starts nothing
    return "\n".join(["set -e", *lines]) if lines else ""


def _script(sky: SkypilotSection, spec: NodeSpec) -> str:
    """What runs on each node. SkyPilot does not always tell how it ended, so that it says so.

    Of several none may fail, or SkyPilot would end the others. An agent that breaks there is
    started again, a few times, since its machine is paid for.
    """
    token = "chmod 600 ~/.atoll/join.pem\n" if spec.token else ""
    join = " --join ~/.atoll/join.pem" if spec.token else ""
    several = spec.num_nodes > 1
    node = ' --node "node-$SKYPILOT_NODE_RANK"' if several else ""
    options = f'{shlex.join(spec.agent)} --island {spec.island}{node} --work-dir "$work"{join}'
    pauses = "".join(f"{pause_s} " for pause_s in _PAUSES_S) if several else ""
    final = "".join(f"{code},* | " for code in _FINAL)
    ending = "0" if several else "$((code != 0))"
    return f"""umask 077
work={_WORK}
{token}for pause in {pauses}0; do
  mkdir -p "$work"
  {_agent(sky)} {options}
  code=$?
  rm -rf "$work"
  case $code,$pause in {final}*,0) break ;; esac
  echo "atoll: the agent exited with code $code, and is started again in $pause s"
  sleep $pause
done
echo "{ENDED}$code"
exit {ending}
"""


def _agent(sky: SkypilotSection) -> str:
    """How the agent is called, without its options."""
    if sky.wheel:
        return f"sh ~/.atoll/node.sh --wheel ~/.atoll/{shlex.quote(Path(sky.wheel).name)} --"
    return f"{sky.python} -P -m atoll agent"


def _short(text: str, num_digits: int) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:num_digits]
