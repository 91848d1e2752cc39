"""``atoll bench``."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from atoll.command import JsonOption, print_json, progress_bars, say, show
from atoll.errors import AtollError, BadInput, Interrupted

if TYPE_CHECKING:
    from serving.bench.tally import Answer, Tally
    from serving.bench.trace import Arrival

_MOST_REQUESTS = 1_000_000  # of a drawn trace, which is drawn before the first is sent

bench = typer.Typer(add_completion=False, no_args_is_help=True)

UrlArgument = Annotated[
    str, typer.Argument(help="In front of /images/generations, e.g. http://127.0.0.1:8000/v1.")
]
RateOption = Annotated[
    float | None, typer.Option(help="Requests a second, on average.", show_default="1")
]
DurationOption = Annotated[
    float | None, typer.Option(help="For so long requests arrive.", show_default="30")
]
SeedOption = Annotated[
    int | None, typer.Option(min=0, help="Of when they arrive.", show_default="0")
]
BodyOption = Annotated[
    str | None, typer.Option(help="JSON of every request.", show_default='{"prompt": "0"}')
]
TraceOption = Annotated[
    Path | None,
    typer.Option(help='Recorded requests, a line of JSON each: {"at_s": 0.5, "body": {…}}.'),
]
ModelOption = Annotated[
    str | None, typer.Option(help="Who is to draw.", show_default="the server's choice")
]
DeadlineOption = Annotated[
    float | None,
    typer.Option(help="Images that take longer are no goodput.", show_default="none"),
]
TimeoutOption = Annotated[float, typer.Option(help="A request is given up after so long.")]


@bench.callback()
def group() -> None:
    """Measure what serves."""


@bench.command()
def serve(  # noqa: PLR0917 - each is an option of the command
    url: UrlArgument,
    rate: RateOption = None,
    duration_s: DurationOption = None,
    seed: SeedOption = None,
    body: BodyOption = None,
    trace: TraceOption = None,
    model: ModelOption = None,
    deadline_s: DeadlineOption = None,
    timeout_s: TimeoutOption = 300.0,
    json_: JsonOption = False,
) -> None:
    """Send requests for images as many users would, and tell how they fare.

    Any endpoint that speaks OpenAI's POST /images/generations will do. A request is sent when it is
    due, however many are unanswered. The key, if one is needed, is taken from OPENAI_API_KEY.
    """
    try:
        from serving.bench.tally import REFUSED, tallied
        from serving.bench.trace import poisson, recorded
    except ImportError as error:
        raise BadInput(f"{error.name} is missing; run pip install 'atoll[serve]'") from error

    if trace is None:
        rate = _above_0("--rate", 1.0 if rate is None else rate)
        duration_s = _above_0("--duration-s", 30.0 if duration_s is None else duration_s)
        if rate * duration_s > _MOST_REQUESTS:
            raise BadInput(
                f"--rate {rate:g} for --duration-s {duration_s:g} makes {rate * duration_s:.3g} "
                f"requests; lower one of them, to {_MOST_REQUESTS:,} requests at most"
            )
        body_ = _body('{"prompt": "0"}' if body is None else body)
        arrivals = poisson(rate, duration_s, seed or 0, body_)
    elif (rate, duration_s, seed, body) != (None, None, None, None):
        raise BadInput("--trace says it all; leave out --rate, --duration-s, --seed and --body")
    else:
        arrivals = recorded(trace)
    if not arrivals:
        raise BadInput("no request arrives in so short a time; raise --rate or --duration-s")
    if model is not None:
        arrivals = [arrival.asking(model) for arrival in arrivals]
    deadline_s = math.inf if deadline_s is None else _above_0("--deadline-s", deadline_s)
    answers = _replayed(arrivals, url, _above_0("--timeout-s", timeout_s))
    tally = tallied(answers, deadline_s)
    _show(url, tally, as_json=json_)
    if not tally.ok:
        reasons = {REFUSED: tally.refused, **tally.failed}
        why = max(reasons, key=lambda reason: reasons[reason])
        raise AtollError(f"none of {tally.requests} requests brought images: {why}")


def _replayed(arrivals: Sequence[Arrival], url: str, timeout_s: float) -> list[Answer]:
    import asyncio
    import os

    try:
        from serving.bench.replay import Endpoint, replay
    except ImportError as error:
        raise BadInput(f"{error.name} is missing; run pip install 'atoll[serve]'") from error

    endpoint = Endpoint(url, os.environ.get("OPENAI_API_KEY", ""), timeout_s)
    try:
        with progress_bars() as bar:

            def told(num: int) -> None:
                bar("requests", num, len(arrivals))

            return asyncio.run(replay(arrivals, endpoint, told))
    except KeyboardInterrupt as error:
        raise Interrupted("interrupted; nothing was measured") from error


def _show(url: str, tally: Tally, *, as_json: bool) -> None:
    from dataclasses import asdict

    if as_json:
        print_json(asdict(tally))
        return
    others = {"refused": tally.refused, "failed": sum(tally.failed.values())}
    fared = {"requests": tally.requests, "ok": tally.ok, "in_time": tally.in_time, **others}
    rates = {"images_per_s": tally.images_per_s, "goodput_per_s": tally.goodput_per_s}
    latencies = {"p50_s": tally.p50_s, "p95_s": tally.p95_s, "p99_s": tally.p99_s}
    show(url, [{**fared, **rates, **latencies}], as_json=False)
    if tally.failed:
        reasons = [{"requests": num, "reason": why} for why, num in tally.failed.items()]
        show("Failed", reasons, as_json=False)
    if tally.late_s > max(0.1, 0.1 * (tally.p50_s or 0)):
        say(
            f"requests were sent up to {tally.late_s:.2g} s late: this machine is too slow for them"
        )


def _body(text: str) -> dict[str, Any]:
    try:
        body = json.loads(text)
    except json.JSONDecodeError as error:
        raise BadInput(f"--body is no JSON: {error}") from error
    if not isinstance(body, dict) or body.get("stream"):
        raise BadInput('--body must be an object without "stream", e.g. {"prompt": "a cat"}')
    from serving.bench.trace import refuse_unsendable

    refuse_unsendable(body, "--body")
    return body


def _above_0(option: str, value: float) -> float:
    if not 0 < value < math.inf:  # NaN is not
        raise BadInput(f"{option} is {value:g}; give a number above 0")
    return value
