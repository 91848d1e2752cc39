"""Tables that are drawn anew in place on a terminal, below what is told in lines."""

from __future__ import annotations

from typing import Any, Self

from atoll.command import cell

_WORDS = {"job", "state", "island"}  # columns of words; numbers stand at the right


class InPlace:
    """The last lines of a terminal, between entering and leaving it."""

    def __init__(self) -> None:
        from rich.console import Console
        from rich.live import Live

        self._live = Live(console=Console(stderr=True), refresh_per_second=4)

    def __enter__(self) -> Self:
        self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._live.stop()

    def tell(self, words: str) -> None:
        """Write a line above, which moves all else down."""
        self._live.console.print(words, highlight=False, markup=False)

    def draw(self, *parts: Any) -> None:
        """Show these in place of what is there."""
        from rich.console import Group

        self._live.update(Group(*parts))


def table_of(shown: list[dict[str, Any]], title: str) -> Any:
    """A table with a row for each; every row has the same columns."""
    from rich import box
    from rich.markup import escape
    from rich.table import Table

    table = Table(
        title=escape(title), title_justify="left", header_style="bold", box=box.SIMPLE_HEAD
    )
    for name in shown[0] if shown else ("nothing yet",):
        table.add_column(name.replace("_", " "), justify="left" if name in _WORDS else "right")
    for row in shown:
        table.add_row(*(escape(cell(value)) for value in row.values()))
    return table
