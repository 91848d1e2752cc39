"""``atoll init``: a commented configuration file to start from."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from atoll.command import SetOption, say
from atoll.config_file import commented, read_config
from atoll.errors import BadInput


def init(
    path: Annotated[Path, typer.Argument(help="Where to write it.")] = Path("atoll.toml"),
    set_: SetOption = None,
    force: Annotated[bool, typer.Option("--force", help="Replace an existing file.")] = False,
) -> None:
    """Write a configuration file with every key, its default, and what it is for."""
    text = commented(read_config(None, set_ or ()))
    if path.exists() and not force:
        raise BadInput(f"{path} exists already; name another file, or replace it with --force")
    # Beside it first: a full disk must not cost the file that is there.
    whole = path.with_name(f".{path.name}.tmp")
    try:
        whole.write_text(text, encoding="utf-8")
        whole.replace(path)
    except OSError as error:
        whole.unlink(missing_ok=True)
        raise BadInput(f"{path} cannot be written: {error.strerror}") from error
    say(f"wrote {path}; now: atoll run --config {path}")
