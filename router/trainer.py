"""The program that trains a router: ``python -m router.trainer --work-dir DIR``."""

from __future__ import annotations

import sys

from experts.process import run_trainer
from router.task import router_task

if __name__ == "__main__":
    sys.exit(run_trainer(router_task))
