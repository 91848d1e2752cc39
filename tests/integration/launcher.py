"""The command a user types, with the fake trainer in place of the real ones."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path

from atoll.config_file import read_config
from atoll.errors import AtollError
from orchestrator.cli.training import train

TRAINER = [sys.executable, str(Path(__file__).parents[1] / "fake_trainer.py")]


def main() -> None:
    """Takes the stages, the trainer's options and the settings from its arguments."""
    stages, options, *overrides = sys.argv[1:]
    try:
        train(
            read_config(None, overrides),
            *stages.split(),
            trainer=[*TRAINER, *shlex.split(options)],
        )
    except AtollError as error:
        sys.stderr.write(f"atoll: {error}\n")
        sys.exit(error.exit_code)


if __name__ == "__main__":
    main()
