"""The program that trains a router: ``python -m router.trainer --work-dir DIR``."""

import gc

if __name__ == "__main__":
    gc.disable()  # see experts.trainer
    from experts.process import leave, run_trainer
    from router.task import router_task

    gc.freeze()
    gc.enable()
    leave(run_trainer(router_task))
