"""Run by SkyPilot's own Python: what its parsers and its optimizer make of a task and of commands.

    python dry_run.py TASK CALLS

Its last line is JSON. Nobody is asked for credentials: AWS and GCP are taken as enabled.
"""

from __future__ import annotations

import json
import shlex
import sys
from pathlib import Path
from unittest import mock

import sky
from sky import clouds, optimizer
from sky.client.cli import command


def main(task_file: str, calls: str) -> None:
    task = sky.Task.from_yaml(task_file)
    with sky.Dag() as dag:
        dag.add(task)
    enabled = mock.patch(
        "sky.check.get_cached_enabled_clouds_or_refresh",
        return_value=[clouds.AWS(), clouds.GCP()],
    )
    with enabled:
        (chosen,) = optimizer.Optimizer.optimize(dag).tasks
    given = [parsed(shlex.split(line)) for line in Path(calls).read_text().splitlines()]
    told = {
        "order": [
            [str(each.cloud), each.region, each.use_spot, each.accelerators, each.disk_size]
            for each in task.resources
        ],
        "labels": [each.labels for each in task.resources],
        "autostop": [each.autostop_config.to_yaml_config() for each in task.resources],
        "chosen": [str(chosen.best_resources.cloud), chosen.best_resources.instance_type],
        "num_nodes": task.num_nodes,
        "files": task.file_mounts,
        "run": task.run,
        "setup": task.setup,
        "calls": given,
    }
    print(json.dumps(told))


def parsed(words: list[str]) -> dict[str, object]:
    """The parameters of a command. It is not called."""
    group = command.cli
    while words[0] in getattr(group, "commands", {}):
        group = group.commands[words[0]]
        words = words[1:]
        if not hasattr(group, "commands"):
            break
    context = group.make_context(group.name, words)
    return {"command": group.name, **{key: repr(value) for key, value in context.params.items()}}


if __name__ == "__main__":
    main(*sys.argv[1:])
