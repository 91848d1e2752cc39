"""Whether Kubernetes takes an object: by its published schemas, and its rules for names."""

from __future__ import annotations

import functools
import json
import re
from pathlib import Path
from typing import Any

from jsonschema import Draft202012Validator
from referencing import Registry
from referencing.jsonschema import DRAFT202012

FOLDER = Path(__file__).parent / "schemas"
CORE, META, BATCH = "api.core.v1.", "apimachinery.pkg.apis.meta.v1.", "api.batch.v1."

_NAME = re.compile(r"[a-z0-9]([a-z0-9-]*[a-z0-9])?")  # of what becomes part of a host's name
_VALUE = re.compile(r"([A-Za-z0-9]([A-Za-z0-9._-]*[A-Za-z0-9])?)?")
_KEY = re.compile(r"([a-z0-9]([a-z0-9.-]*[a-z0-9])?/)?[A-Za-z0-9]([A-Za-z0-9._-]*[A-Za-z0-9])?")
_MOST = 63


def problems(tree: Any, kind: str) -> list[str]:
    """What is wrong with an object; nothing, if it is of the kind it should be.

    Args:
        tree: the object.
        kind: "JobSet", or the rest of its name behind ``io.k8s.``.
    """
    found = [f"{each.json_path}: {each.message}" for each in _validator(kind).iter_errors(tree)]
    return found or list(_misnamed(tree))


@functools.cache
def _validator(kind: str) -> Draft202012Validator:
    where = f"kubernetes.json#/$defs/io.k8s.{kind}"
    if kind == "JobSet":
        where = "jobset.json#/$defs/jobset.v1alpha2.JobSet"
    return Draft202012Validator({"$ref": where}, registry=_registry())


@functools.cache
def _registry() -> Registry[Any]:
    read = {path.name: _strict(json.loads(path.read_text())) for path in FOLDER.glob("*.json")}
    return Registry().with_resources(
        (name, DRAFT202012.create_resource(tree)) for name, tree in read.items()
    )


def _strict(tree: Any) -> Any:
    """No field that is not in the schema."""
    if isinstance(tree, list):
        return [_strict(item) for item in tree]
    if not isinstance(tree, dict):
        return tree
    strict = {key: _strict(value) for key, value in tree.items()}
    if isinstance(tree.get("properties"), dict) and "type" in tree:
        strict.setdefault("additionalProperties", False)
    return strict


def _misnamed(tree: Any) -> Any:
    """Names and labels, at whatever depth, that no server takes."""
    if isinstance(tree, list):
        for item in tree:
            yield from _misnamed(item)
    if not isinstance(tree, dict):
        return
    meta = tree.get("metadata")
    if isinstance(meta, dict):
        name = meta.get("name")
        if name is not None and (not _NAME.fullmatch(name) or len(name) > _MOST):
            yield f"metadata.name: {name!r} is no DNS label"
        for key, value in meta.get("labels", {}).items():
            if not _KEY.fullmatch(key) or not _VALUE.fullmatch(value) or len(value) > _MOST:
                yield f"metadata.labels: {key}={value!r} is no label"
        for key in meta.get("annotations", {}):
            if not _KEY.fullmatch(key):
                yield f"metadata.annotations: {key!r} is no name"
    for item in tree.values():
        yield from _misnamed(item)
