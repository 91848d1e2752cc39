"""What SkyPilot tells of a request, a cluster and a job, when they are new."""

from __future__ import annotations

import time
from typing import Any
from uuid import uuid4


def request_row(request: str, cluster: str) -> dict[str, Any]:
    return {
        "name": "sky.launch",
        "status": "RUNNING",
        "cluster_name": cluster,
        "error": "null",
        "request_id": request,
        "created_at": time.time(),
    }


def cluster_row(name: str, task: dict[str, Any]) -> dict[str, Any]:
    return {
        "name": name,
        "launched_at": int(time.time()),
        "last_use": "",
        "status": "INIT",
        "autostop": task["resources"].get("autostop", {}).get("idle_minutes", -1),
        "to_down": "autostop" in task["resources"],
        "cluster_hash": str(uuid4()),
        "cluster_ever_up": False,
        "user_name": "root",
        "workspace": "default",
        "is_managed": False,
        "init_kind": "launching",
        "init_status_reason": None,
        "resources_str": "1x(cpus=1, mem=1, ...)",
        "nodes": task.get("num_nodes", 1),
        "cloud": "AWS",
        "region": "us-east-1",
        "labels": task["resources"]["labels"],
    }


def job_row(task: dict[str, Any]) -> dict[str, Any]:
    return {
        "job_id": 1,
        "job_name": task["name"],
        "username": "root",
        "submitted_at": time.time(),
        "start_at": None,
        "end_at": None,
        "resources": "1x[CPU:1]",
        "status": "SETTING_UP" if "setup" in task else "PENDING",
        "log_path": "~/sky_logs/sky-2026-11-26-04-59-16-941535",
        "metadata": {},
        "links": {},
    }
