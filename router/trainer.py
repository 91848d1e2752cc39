"""The program that trains a router: ``python -m router.trainer --work-dir DIR``."""

import gc
import sys

if __name__ == "__main__":
    gc.disable()  # see experts.trainer
    from experts.process import run_trainer
    from router.task import router_task

    gc.freeze()
    gc.enable()
    sys.exit(run_trainer(router_task))
