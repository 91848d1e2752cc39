"""Program of a training process: ``python -m experts.trainer --work-dir …``, through torchrun."""

import gc

if __name__ == "__main__":
    gc.disable()  # nothing that is imported is garbage: to look for it takes a sixth of the start
    from experts.expert import expert_task
    from experts.process import leave, run_trainer

    gc.freeze()
    gc.enable()
    leave(run_trainer(expert_task))
