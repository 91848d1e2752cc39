"""Programs of others, run beside a benchmark by interpreters of their own."""

from __future__ import annotations

import argparse
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

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


def program(name: str) -> Path:
    """A script that a peer's interpreter runs."""
    return HERE / "peers" / name


@contextmanager
def lighthouse(python: Path) -> Iterator[tuple[str, int]]:
    """Inside, torchft's lighthouse serves; its address and process."""
    serving = subprocess.Popen(
        [python, program("lighthouse.py")],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    assert serving.stdout
    try:
        yield serving.stdout.readline().strip(), serving.pid
    finally:
        serving.communicate()  # ends its standard input, and so the server
