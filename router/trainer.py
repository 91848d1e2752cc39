"""The program that trains a router: ``python -m router.trainer --work-dir DIR``."""

from __future__ import annotations

from experts.process import leave, run_trainer
from router.task import router_task

if __name__ == "__main__":
    leave(run_trainer(router_task))
