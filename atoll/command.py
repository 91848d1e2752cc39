"""What all commands share: their common options, and one way to show a table."""

from __future__ import annotations

import contextlib
import json
import math
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

ConfigOption = Annotated[
    Path | None,
    typer.Option("--config", "-c", help="The run's TOML file.", show_default="defaults"),
]
SetOption = Annotated[
    list[str] | None,
    typer.Option("--set", "-s", help="Override a key: section.key=value. Repeatable."),
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")]

# Told as long work goes on: what is being done, how much of it is, and of how much if known.
Progress = Callable[[str, int, int | None], None]


def show(title: str, rows: Sequence[dict[str, Any]], *, as_json: bool) -> None:
    """Print rows as a table for people, or as a JSON list for programs.

    Args:
        title: heading of the table.
        rows: cells by column name; every row has the same columns.
        as_json: whether a program reads this.
    """
    if as_json:
        print_json(list(rows))
        return
    from rich import box  # noqa: PLC0415 - a JSON reader does not wait for it
    from rich.console import Console  # noqa: PLC0415
    from rich.markup import escape  # noqa: PLC0415
    from rich.table import Table  # noqa: PLC0415

    table = Table(
        title=escape(title),
        title_justify="left",
        box=box.SIMPLE_HEAD,
        padding=(0, 1),
        pad_edge=False,
        collapse_padding=True,
    )
    for place, name in enumerate(rows[0] if rows else ("nothing to show",)):
        numeric = any(isinstance(row[name], int | float) for row in rows)
        # Where the terminal is too narrow a cell takes two lines: nothing is cut off. The
        # name of a row, which is short, is kept whole.
        table.add_column(
            name.replace("_", " "),
            justify="right" if numeric else "left",
            overflow="fold",
            no_wrap=place == 0,
        )
    for row in rows:
        table.add_row(*(escape(cell(value)) for value in row.values()))
    Console().print(table)


@contextlib.contextmanager
def progress_bars() -> Iterator[Progress]:
    """Bars on a terminal, one for each thing that is done; elsewhere a line as each begins."""
    from rich import progress as bars  # noqa: PLC0415
    from rich.console import Console  # noqa: PLC0415

    console = Console(stderr=True)
    columns = (
        bars.TextColumn("{task.description}"),
        bars.BarColumn(),
        bars.TextColumn("{task.fields[count]}"),
        bars.TimeElapsedColumn(),
    )
    with bars.Progress(*columns, console=console, disable=not console.is_terminal) as shown:
        tasks: dict[str, bars.TaskID] = {}

        def progress(doing: str, done: int, total: int | None) -> None:
            count = f"{done:,}" if total is None else f"{done:,} of {total:,}"
            if doing not in tasks:
                tasks[doing] = shown.add_task(doing, total=total, count=count)
                if not console.is_terminal:
                    say(doing)
            shown.update(tasks[doing], completed=done, total=total, count=count)

        yield progress


def print_json(value: Any) -> None:
    """Print one JSON document to standard output."""
    sys.stdout.write(json.dumps(value, indent=1, default=str) + "\n")


def say(text: str) -> None:
    """Tell a person something, on standard error, so that standard output stays for results."""
    typer.echo(text, err=True)


def cell(value: Any) -> str:
    """A value as a table shows it; a dash for what is not there."""
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return "–"
    if isinstance(value, float):
        return f"{value:.3g}" if abs(value) < 1000 else f"{value:,.0f}"
    if isinstance(value, int) and not isinstance(value, bool):
        return f"{value:,}"
    return ", ".join(map(str, value)) if isinstance(value, list) else str(value)
