"""Stages: functions from references to a reference, each done once.

A finished stage leaves a small manifest: the settings it was made with and what it produced. The
same command finds it and does nothing; other settings under the same URI are refused, by name.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from atoll import layout
from atoll.blobs import BlobStore
from atoll.errors import BadInput, BlobMissing, StageMissing


def finished(
    store: BlobStore, stage: str, inputs: dict[str, Any], why: Mapping[str, str] | None = None
) -> dict[str, Any] | None:
    """What a stage produced earlier with the same inputs; None if it has not run to its end.

    Args:
        store: of the run.
        stage: its name.
        inputs: settings by section and key.
        why: for a key of which users would not expect that it counts, why it does.

    Raises:
        BadInput: the run holds this stage made with other inputs; names the first that differs, of
            those that both have if there is one: the rest may follow from it.
    """
    manifest = _read(store, stage)
    if manifest is None:
        return None
    _refuse_differing(manifest["inputs"], inputs, why)
    result: dict[str, Any] = manifest["result"]
    return result


def refuse_other(store: BlobStore, stage: str, inputs: dict[str, Any]) -> None:
    """Refuse some settings that are not those a stage was made with, of those that it knows.

    Args:
        store: of the run.
        stage: its name.
        inputs: settings by section and key.

    Raises:
        BadInput: names the first that differs.
    """
    before, now = _flat((_read(store, stage) or {"inputs": {}})["inputs"]), _flat(inputs)
    both = before.keys() & now.keys()
    _refuse_differing({key: before[key] for key in both}, {key: now[key] for key in both})


def finish(
    store: BlobStore, stage: str, inputs: dict[str, Any], result: dict[str, Any]
) -> dict[str, Any]:
    """Record that a stage is done; returns ``result``."""
    text = json.dumps({"inputs": inputs, "result": result}, indent=1, sort_keys=True)
    store.publish(layout.stage_manifest(stage), text.encode())
    return result


def require(store: BlobStore, stage: str, needed_by: str) -> dict[str, Any]:
    """What an earlier stage produced.

    Raises:
        StageMissing: it has not run; says which command runs it.
    """
    result = find(store, stage)
    if result is None:
        raise StageMissing(
            f"`atoll {needed_by}` builds on what `atoll {stage}` makes, which has not run to its "
            f"end under this run.uri; run `atoll {stage}` first"
        )
    return result


def find(store: BlobStore, stage: str) -> dict[str, Any] | None:
    """What a stage produced last, whatever its inputs; None if it has not run to its end."""
    manifest = _read(store, stage)
    return None if manifest is None else manifest["result"]


def difference(
    before: Mapping[str, Any], now: Mapping[str, Any], why: Mapping[str, str] | None = None
) -> str | None:
    """The first setting in which two configurations differ, in words; None if they are the same.

    Args:
        before: settings by section and key.
        now: likewise.
        why: as for :func:`finished`.
    """
    one, other = _flat(before), _flat(now)
    every = one.keys() | other.keys()
    differing = [key for key in every if one.get(key) != other.get(key)]
    if not differing:
        return None
    key = min(differing, key=lambda key: (key not in one or key not in other, key))
    reason = f", which counts since {why[key]}" if why and key in why else ""
    told = f"{key} = {one.get(key)!r}, and the configuration now says {other.get(key)!r}"
    return told + reason


def _refuse_differing(
    before: Mapping[str, Any], now: Mapping[str, Any], why: Mapping[str, str] | None = None
) -> None:
    if told := difference(before, now, why):
        raise BadInput(
            f"this run was made with {told}; give new settings a run.uri of their own, or set the "
            "key back"
        )


def _read(store: BlobStore, stage: str) -> dict[str, Any] | None:
    try:
        manifest: dict[str, Any] = json.loads(store.get_bytes(layout.stage_manifest(stage)))
    except BlobMissing:
        return None
    return manifest


def _flat(tree: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in tree.items():
        if isinstance(value, dict):
            flat |= _flat(value, f"{prefix}{key}.")
        else:
            flat[f"{prefix}{key}"] = value
    return flat
