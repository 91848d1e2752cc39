"""Programs of others, run beside a benchmark by interpreters of their own."""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent


def add_option(parser: argparse.ArgumentParser) -> None:
    """``--peers FOLDER``."""
    parser.add_argument(
        "--peers", type=Path, default=HERE.parent / ".venv-peers", help="made by scripts/peers"
    )


def interpreter(name: str, folder: Path) -> Path | None:
    """That of a peer; None, with a word to the user, if it is not here."""
    python = folder / name / "bin" / "python"
    if python.exists():
        return python.absolute()
    print(
        f"{name} is not in {folder}, so ours runs alone; get it by scripts/peers", file=sys.stderr
    )
    return None


def answer(python: Path, script: str, *arguments: str) -> Any:
    """What a script of a peer prints last, which is JSON; None, with its last word, if it fails."""
    ended = subprocess.run(
        [python, HERE / "peers" / script, *arguments],
        capture_output=True,
        text=True,
        check=False,
        env=_environment(),
    )
    if ended.returncode:
        print(f"{script} failed: {ended.stderr.strip().splitlines()[-1:]}", file=sys.stderr)
        return None
    return json.loads(ended.stdout.splitlines()[-1])


@contextmanager
def lighthouse(python: Path) -> Iterator[tuple[str, int]]:
    """Inside, torchft's lighthouse serves; its address and process."""
    serving = subprocess.Popen(
        [python, HERE / "peers" / "lighthouse.py"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        env=_environment(),
    )
    assert serving.stdout
    try:
        yield serving.stdout.readline().strip(), serving.pid
    finally:
        serving.communicate()  # ends its standard input, and so the server


def _environment() -> dict[str, str]:
    """Without our modules, some of which have the names of theirs."""
    return {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
