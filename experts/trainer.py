"""Program of a training process: ``python -m experts.trainer --work-dir …``, through torchrun."""

import sys

from experts.expert import expert_task
from experts.process import run_trainer

if __name__ == "__main__":
    sys.exit(run_trainer(expert_task))
