"""``atoll generate``: images from a service that runs already."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated, Any

import typer

from atoll.client import DEFAULT_ADDRESS, Client, Options, is_key
from atoll.command import JsonOption, print_json, progress_bars, say
from atoll.errors import BadInput, ConfigError, Interrupted
from atoll.image_size import size_in
from atoll.images import Accepted, Generated, Progress
from atoll.private_files import read_private

KEY_VARIABLE = "ATOLL_API_KEY"
_OPEN = "the service's"  # what an option is that is left out

AskedOption = Annotated[
    list[str] | None,
    typer.Option(
        "--class",
        "--prompt",
        help="A class by name or number, or a prompt. Repeatable: images take them in turn.",
        show_default="every class in turn",
    ),
]
OutOption = Annotated[
    Path,
    typer.Option("--out", "-o", help="The PNG; of several, each has its number in its name."),
]
NumOption = Annotated[int, typer.Option("--num", "-n", min=1, help="How many images.")]
SeedOption = Annotated[
    int | None,
    typer.Option(help="Of the first image; the next is one more.", show_default="random"),
]
SizeOption = Annotated[
    str | None,
    typer.Option(
        help="WIDTHxHEIGHT in pixels, one of the model's.", show_default="the model's first"
    ),
]
StepsOption = Annotated[int | None, typer.Option(help="Of the solver.", show_default=_OPEN)]
GuidanceOption = Annotated[float | None, typer.Option(help="1 is none.", show_default=_OPEN)]
StrategyOption = Annotated[
    str | None, typer.Option(help="How experts are selected, e.g. top-2.", show_default=_OPEN)
]
SolverOption = Annotated[
    str | None, typer.Option(help="How the flow is integrated.", show_default=_OPEN)
]
AtOption = Annotated[str, typer.Option(help="Where the service answers over gRPC: host:port.")]
CaOption = Annotated[
    Path | None,
    typer.Option(
        help="File of the authority that made the service's certificate, as `atoll certs` has it.",
        show_default="beyond this machine, those that gRPC brings",
    ),
]
KeyFileOption = Annotated[
    Path | None,
    typer.Option(help="File that holds the API key.", show_default=f"${KEY_VARIABLE}, if set"),
]


def generate(  # noqa: PLR0917 - each is an option of the command
    asked: AskedOption = None,
    out: OutOption = Path("out.png"),
    num: NumOption = 1,
    seed: SeedOption = None,
    size: SizeOption = None,
    steps: StepsOption = None,
    guidance: GuidanceOption = None,
    strategy: StrategyOption = None,
    solver: SolverOption = None,
    at: AtOption = DEFAULT_ADDRESS,
    ca: CaOption = None,
    key_file: KeyFileOption = None,
    json_: JsonOption = False,
) -> None:
    """Have images drawn by a service, `atoll serve`: a PNG of each with its recipe inside."""
    _refuse_unwritable(out)
    given = {
        "seed": seed,
        "size": None if size is None else size_in(size),
        "steps": steps,
        "guidance": guidance,
        "strategy": strategy,
        "solver": solver,
    }
    options: Any = {name: value for name, value in given.items() if value is not None}
    options |= Options(n=num, cancel_on_disconnect=True)
    with Client(at, api_key=_key(key_file), ca=ca) as client:
        try:
            rows = _drawn(client, asked or [], options, out)
        except KeyboardInterrupt as error:
            raise Interrupted(
                "interrupted; the service draws no further, and finished images are kept"
            ) from error
    places = ", ".join(row["image"] for row in rows)
    say(f"1 image with its recipe: {places}" if num == 1 else f"{num} images: {places}")
    if json_:
        print_json(rows)


def _drawn(client: Client, asked: list[str], options: Options, out: Path) -> list[dict[str, Any]]:
    """Have images drawn, and each kept as it comes; what became of them, in their order."""
    num, rows, done = options["n"], {}, {}
    with progress_bars() as progress:
        for event in client.stream(asked, **options):
            match event:
                case Accepted(ahead=ahead) if ahead:
                    say(f"images of others before it: {ahead}")
                case Progress(index, step, steps):
                    done[index] = step
                    progress("drawing images", sum(done.values()), num * steps)
                case Generated(index):
                    path = _place(out, index, num)
                    event.save(path)
                    rows[index] = {
                        "seed": event.seed,
                        "condition": event.condition,
                        "image": str(path),
                    }
    return [rows[index] for index in sorted(rows)]


def _place(out: Path, index: int, num: int) -> Path:
    return out if num == 1 else out.with_stem(f"{out.stem}-{index + 1:0{len(str(num))}}")


def _refuse_unwritable(out: Path) -> None:
    """Better to know before the images are drawn."""
    if out.suffix.lower() != ".png":
        raise BadInput(f"--out {out}: name a PNG, e.g. out.png; several images become out-1.png, …")
    if not (out.parent.is_dir() and os.access(out.parent, os.W_OK)) or out.is_dir():
        raise BadInput(f"--out {out} cannot be written; choose another, or make its folder")


def _key(file: Path | None) -> str | None:
    """The API key. Raises: BadInput, the file cannot be read, or can be by others, or has none."""
    if file is None:
        key = os.environ.get(KEY_VARIABLE)
        if key is not None and not is_key(key):
            raise BadInput(
                f"{KEY_VARIABLE} holds no API key; set it to the line that `atoll key` wrote, or "
                "unset it"
            )
        return key
    try:
        key = read_private(file).decode(errors="replace")
    except ConfigError as error:
        raise BadInput(f"--key-file: {error}") from error
    if not is_key(key):
        raise BadInput(
            f"--key-file {file} holds no API key; give a file with the line that `atoll key` "
            "wrote, not the service's own, which has but its hash"
        )
    return key
