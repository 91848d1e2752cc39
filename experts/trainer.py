"""Program of a training process: ``python -m experts.trainer --work-dir …``, through torchrun."""

from experts.expert import expert_task
from experts.process import leave, run_trainer

if __name__ == "__main__":
    leave(run_trainer(expert_task))
