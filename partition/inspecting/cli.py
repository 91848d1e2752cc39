"""``atoll inspect``."""

from __future__ import annotations

import tempfile
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from atoll.command import ConfigOption, JsonOption, SetOption, print_json, progress_bars, say, show
from atoll.config import Config
from atoll.config_file import parse_config, read_config, run_config
from atoll.errors import BadInput
from atoll.image_size import name_of
from atoll.sections import OF_NPZ

if TYPE_CHECKING:  # numpy and its friends load for a while
    from collections.abc import Iterable, Sequence

    from partition.inspecting.findings import Alike, Findings

_NAMED = 3  # of a kind, on a terminal
_CAPTION = 60  # letters of one, there


def inspect(
    path: Annotated[
        str | None,
        typer.Argument(help="Tars, folder, .npz or URL; without it, what --config names."),
    ] = None,
    *,
    config: ConfigOption = None,
    set_: SetOption = None,
    montage: Annotated[
        Path | None, typer.Option("--montage", help="Draw some of the samples into this PNG.")
    ] = None,
    source: Annotated[
        bool, typer.Option("--source", help="Look at the data source even if it is partitioned.")
    ] = False,
    json_: JsonOption = False,
) -> None:
    """Tell what is in a data set, or in the shards of a run.

    Sizes, labels, captions, what is broken, and samples that are the same as others, or nearly. A
    run that is partitioned is looked at in its shards, whose digests are verified.
    """
    from partition.inspecting.findings import look_at
    from partition.inspecting.subject import subject_of

    settings = _settings(config, set_ or (), path)
    named = any(each.partition("=")[0].strip() == "run.uri" for each in set_ or ())
    data = any(each.strip().startswith("data.") for each in set_ or ())
    run = named and config is None and not data
    subject = subject_of(settings, source=source or path is not None, run=run)
    with tempfile.TemporaryDirectory() as scratch, progress_bars() as progress, subject.workers:
        found = look_at(
            subject.items(Path(scratch)),
            subject.workers,
            Path(scratch),
            settings.partition.duplicate_epsilon,
            lambda done: progress("looking at samples", done, subject.total),
        )
    if montage is not None:
        _draw(found, subject.class_names, montage)
    if json_:
        print_json(_as_json(found, subject.class_names))
    else:
        show(subject.title, _rows(found, subject.class_names), as_json=False)
    if not found.num_samples:
        first = found.broken[:1]
        why = "".join(f"; {item.name}: {item.reason}" for item in first)
        raise BadInput(f"{subject.title} holds no sample that can be read{why}")
    if montage is not None:
        say(f"some of the samples: {montage}")


def _settings(config: Path | None, overrides: Sequence[str], path: str | None) -> Config:
    """The configuration; where a path is named, of that, and of no run that lies about here."""
    if path is None:
        return run_config(config, overrides)
    from partition.inspecting.subject import kind_of

    kind = kind_of(path)
    settings = read_config(config, [*overrides, *(["data.source=npz"] if kind == "npz" else [])])
    others = set() if kind == "npz" else set(OF_NPZ)  # which a configuration may have of its own
    named = {**settings.data.model_dump(exclude=others), "source": kind, "path": path}
    data = parse_config({"data": named}, "what is to be inspected").data
    return settings.model_copy(update={"data": data})


def _rows(found: Findings, names: Sequence[str]) -> list[dict[str, Any]]:
    """The findings for a person: what there is of each kind, and a few examples."""
    shapes = [f"{name_of(*shape)} ({num:,})" for shape, num in found.shapes.most_common()]
    labels = [f"{_name(label, names)} ({num:,})" for label, num in found.labels.most_common()]
    captions = [_quoted(text) for _, text in found.captions.items]
    broken = [f"{item.name} ({item.reason})" for item in found.broken]
    rows = {
        "samples": (found.num_samples, []),
        "sizes": (len(shapes), shapes),
        "labels": (len(labels), labels),
        "captions": (found.num_captions, captions),
        "broken": (len(broken), broken),
        "the same as another": (len(found.same), _pairs(found.same, "=")),
        "nearly the same": (len(found.near), _pairs(found.near, "≈")),
    }
    return [
        {"what": what, "number": num, "such as": _few(examples)}
        for what, (num, examples) in rows.items()
    ]


def _quoted(caption: str) -> str:
    return f'"{caption}"' if len(caption) <= _CAPTION else f'"{caption[:_CAPTION]}…"'


def _few(examples: Sequence[str]) -> str:
    more = f", and {len(examples) - _NAMED:,} more" if len(examples) > _NAMED else ""
    return ", ".join(examples[:_NAMED]) + more


def _pairs(alike: Iterable[Alike], sign: str) -> list[str]:
    return [f"{pair.name} {sign} {pair.like}" for pair in alike]


def _as_json(found: Findings, names: Sequence[str]) -> dict[str, Any]:
    return {
        "samples": found.num_samples,
        "sizes": {name_of(*shape): num for shape, num in found.shapes.most_common()},
        "labels": {_name(label, names): num for label, num in sorted(found.labels.items())},
        "captions": {
            "samples": found.num_captions,
            "some": [{"name": name, "caption": text} for name, text in found.captions.items],
        },
        "broken": list(map(asdict, found.broken)),
        "same": list(map(asdict, found.same)),
        "near": list(map(asdict, found.near)),
    }


def _name(label: int, names: Sequence[str]) -> str:
    return names[label] if label < len(names) else str(label)


def _draw(found: Findings, names: Sequence[str], path: Path) -> None:
    """The samples that are shown, each above its caption or label.

    Raises:
        BadInput: there are none, or the file cannot be written.
    """
    import numpy as np

    from partition.images import encode_png
    from partition.sheet import enlarged, labelled, tiled

    looks = found.shown.items
    if not looks:
        raise BadInput(f"nothing can be drawn into {path}: there is no sample that can be read")
    texts = [
        look.caption or (look.key if look.label is None else _name(look.label, names))
        for look in looks
    ]
    images = enlarged(np.stack([look.small for look in looks]), 2 * looks[0].small.shape[0])
    try:
        path.write_bytes(encode_png(tiled(labelled(images, texts))))
    except OSError as error:
        raise BadInput(f"--montage {path} cannot be written: {error.strerror or error}") from error
