"""``atoll plan``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from atoll.command import ConfigOption, JsonOption, SetOption, print_json, say, show
from atoll.config_file import read_config, run_config
from atoll.errors import BadInput


def plan(
    config: ConfigOption = None,
    set_: SetOption = None,
    *,
    model: Annotated[
        str | None, typer.Option(help="A published run instead of the file's networks: ddm-3b.")
    ] = None,
    gpu: Annotated[
        str | None,
        typer.Option(
            help="H200 | H100 | A100-80 | A100-40 | L40S | L4 | RTX4090 | T4.", show_default="H100"
        ),
    ] = None,
    gpus_per_node: Annotated[
        int | None,
        typer.Option(min=1, max=1024, help="Of each node.", show_default="island.processes"),
    ] = None,
    mfu: Annotated[
        float | None,
        typer.Option(help="Share of peak FLOP/s that training reaches.", show_default="0.40"),
    ] = None,
    recompute: Annotated[
        bool, typer.Option("--recompute", help="Activations are computed twice, not kept.")
    ] = False,
    size: Annotated[
        int | None, typer.Option(min=1, help="Side of an image.", show_default="data.size")
    ] = None,
    channels: Annotated[
        int | None, typer.Option(min=1, help="Of an image.", show_default="3, of digits 1")
    ] = None,
    classes: Annotated[
        int | None, typer.Option(min=1, help="Of the data.", show_default="1000, of digits 10")
    ] = None,
    caption_tokens: Annotated[
        int | None, typer.Option(min=1, help="Of a caption.", show_default="captions.tokens")
    ] = None,
    samples: Annotated[
        int | None, typer.Option(min=1, help="In the data set, for the shards' bytes.")
    ] = None,
    sample_kb: Annotated[
        float | None, typer.Option(help="Of a sample in a shard.", show_default="its pixels")
    ] = None,
    prices: Annotated[
        Path | None,
        typer.Option(help="TOML file of prices of nodes, or skypilot: ask its catalogue."),
    ] = None,
    lifetime_h: Annotated[
        float | None,
        typer.Option(help="Mean hours until a spot node is reclaimed: simulates that."),
    ] = None,
    mb_per_s: Annotated[float, typer.Option(help="An island's bandwidth for checkpoints.")] = 100.0,
    json_: JsonOption = False,
) -> None:
    """Foretell what a run needs: operations, memory, hours, bytes and money.

    Without --config the run's own settings count. Where it has trained with them, hours are
    reckoned from the pace it had, unless flags tell of other hardware; else nothing is opened but
    configuration and prices. What the numbers rest on is printed below them. A multiply-add counts
    as two operations.

    For example, the large model of the paper: [bold]atoll plan --model ddm-3b[/bold]; or your own
    run: [bold]atoll plan -c my.toml --gpu L40S --gpus-per-node 4 --lifetime-h 24[/bold].
    """
    from orchestrator.cli.own_pace import paces_of
    from orchestrator.planning.catalogue import catalogue_offers
    from orchestrator.planning.document import document_of
    from orchestrator.planning.hardware import gpu_named
    from orchestrator.planning.means import Means
    from orchestrator.planning.models import model_named
    from orchestrator.planning.plan import plan_run
    from orchestrator.planning.prices import offers_in
    from orchestrator.planning.subject import Data, Subject, subject_of
    from orchestrator.planning.tables import tables

    _refuse_beyond("--mfu", mfu, 0.001, 1)
    _refuse_beyond("--sample-kb", sample_kb, 0.001, 1e9)
    _refuse_beyond("--lifetime-h", lifetime_h, 0.01, 1e6)
    _refuse_beyond("--mb-per-s", mb_per_s, 0.001, 1e6)
    published = None if model is None else model_named(model)
    kind = gpu_named(gpu or (published.gpu if published else "H100"))
    overrides = set_ or []
    if published is None:
        settings = run_config(config, overrides)
    else:
        settings = read_config(config, [*published.settings, *overrides])
    as_it_runs = not (published or gpu or gpus_per_node or mfu or recompute)
    sample_bytes = None if sample_kb is None else sample_kb * 1e3
    if published is None:
        told = Data(size, channels, classes, samples, sample_bytes, caption_tokens)
        subject = subject_of(settings, told)
    else:
        if size or channels or classes or caption_tokens:
            raise BadInput(
                f"--model {model} has images of its own; leave out --size, --channels, --classes "
                "and --caption-tokens"
            )
        data_bytes = samples * sample_bytes if samples and sample_bytes else None
        subject = Subject(published.expert, published.router, data_bytes, ())
    means = Means(
        gpu=kind,
        num_gpus=gpus_per_node or settings.island.processes,
        mfu=mfu,
        recompute=recompute or settings.island.parallel[0].recompute,
        lifetime_h=lifetime_h,
        bytes_per_s=mb_per_s * 1e6,
        paces=paces_of(settings) if as_it_runs else {},
        nodes=settings.island.nodes,
    )
    if prices == Path("skypilot"):
        offers = catalogue_offers(settings.skypilot.command, kind.name, means.num_gpus)
    else:
        offers = () if prices is None else offers_in(prices, kind.name, means.num_gpus)
    try:
        found = plan_run(settings, subject, means, offers)
    except OverflowError as error:
        raise BadInput(
            "the numbers of [expert], [training] or [router] are beyond counting; make them smaller"
        ) from error
    if json_:
        print_json(document_of(found, means, published))
        return
    for title, rows in tables(found, means, published, settings.island.count):
        show(title, rows, as_json=False)
    for words in found.over:
        say(words)
    if published:
        days = found.planned[0].hours / 24
        say(
            f"published: an expert in about {published.days:g} days; here {days:.3g} "
            f"({days / published.days - 1:+.0%})"
        )


def _refuse_beyond(flag: str, value: float | None, least: float, most: float) -> None:
    if value is not None and not least <= value <= most:
        raise BadInput(f"{flag} {value:g} cannot be used; give a number from {least:g} to {most:g}")
