"""The job of a cluster: its task's setup on all nodes, then what the task runs there."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from tests.skypilot.nodes import Nodes


def work(nodes: Nodes, task: dict[str, Any], enter: Callable[[str], None]) -> None:
    """Do all of it; each status that it enters is told."""
    num = task.get("num_nodes", 1)
    speakers = ["setup pid={pid}"] + ["setup pid={pid}, ip={ip}"] * (num - 1)
    codes = nodes.run(task.get("setup", "true"), speakers)
    if any(codes):
        said = f"Job 1's setup failed with return code {max(codes)} (pid=9)."
        nodes.tell(f"ERROR: \x1b[31m{said}\x1b[0m")
        enter("FAILED_SETUP")
        return
    enter("RUNNING")
    codes = nodes.run(task["run"], _ranks(num) if num > 1 else [f"{task['name']}, pid={{pid}}"])
    if any(codes):
        nodes.tell(f"ERROR: \x1b[31mJob 1 failed with return code list:\x1b[0m {codes} ")
    enter("FAILED" if any(codes) else "SUCCEEDED")


def _ranks(num: int) -> list[str]:
    """Who speaks, where several do."""
    workers = (f"worker{rank}, rank={rank}, pid={{pid}}, ip={{ip}}" for rank in range(1, num))
    return ["head, rank=0, pid={pid}", *workers]
