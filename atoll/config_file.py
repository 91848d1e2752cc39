"""Reading, overriding and writing the configuration file."""

from __future__ import annotations

import difflib
import json
import re
import tomllib
from collections.abc import Iterator, Sequence
from datetime import date, time
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ValidationError

from atoll import layout
from atoll.blobs import BlobStore, local_path, open_store
from atoll.config import Config
from atoll.errors import BlobMissing, ConfigError
from atoll.passwords import hidden
from atoll.provider_sections import PROVIDER_SECTIONS
from atoll.section import Section

_ONE_OF_SEVERAL = re.compile(r"literal\[")  # how pydantic names the kinds that a value may be of
_OF_A_KEY = re.compile(r"\w+ = ")
_BARE_KEY = re.compile(r"[A-Za-z0-9_-]+")  # in TOML; others are quoted


def read_config(path: Path | None, overrides: Sequence[str] = ()) -> Config:
    """Read a TOML file and apply overrides.

    Args:
        path: the file; none means defaults alone.
        overrides: ``section.key=value`` with the value in TOML, or a bare string.

    Raises:
        ConfigError: the file or a key cannot be used; the sentence names it and the mend.
    """
    name = str(path) if path else "the defaults"
    tree = _read_toml(path) if path else {}
    for override in overrides:
        _apply(tree, override)
    return parse_config(tree, name, _keys(overrides))


def run_config(path: Path | None, overrides: Sequence[str] = ()) -> Config:
    """What a command on a run goes by: a file, or the configuration the run has, with overrides.

    Of a run in a bucket, which others may write to, all but its orchestrator's, its service's and
    providers'.

    Args:
        path: the file; none means what the run was last started with, or, for a new one, the
            defaults.
        overrides: as for :func:`read_config`; the run is the one they name.

    Raises:
        ConfigError: the file or a key cannot be used; the sentence names it and the mend.
        BlobError: the run's store cannot be read.
    """
    if path is not None:
        return read_config(path, overrides)
    where = [each for each in overrides if each.partition("=")[0].strip() == "run.uri"]
    uri = read_config(None, where).run.uri
    try:
        tree = json.loads(open_store(uri).get_bytes(layout.CONFIG))
        tree["run"]["uri"] = uri  # it may have been spelled from another folder, or moved
        if local_path(uri) is None:
            # Whoever may write to a bucket must not say where commands go, with what secrets, who
            # may call a service, nor what a shell runs.
            served = ("orchestrator", "membership", "serving", "expert_server")
            for section in (*served, *PROVIDER_SECTIONS):
                tree.pop(section, None)
    except BlobMissing:
        return read_config(None, overrides)
    except (ValueError, LookupError, TypeError) as error:
        raise ConfigError(
            f"{layout.CONFIG} in {uri} is damaged; give the run's file with --config"
        ) from error
    for override in overrides:
        _apply(tree, override)
    return parse_config(tree, f"{layout.CONFIG} in {uri}", _keys(overrides))


def parse_config(tree: dict[str, Any], name: str, overridden: Sequence[str] = ()) -> Config:
    """Validate a tree of sections read from ``name``, except for the keys given by ``--set``.

    Raises:
        ConfigError: a key is unknown, missing or out of range.
    """
    try:
        return Config.model_validate(tree)
    except ValidationError as error:
        first, *others = error.errors()
        place = _written(tree, first["loc"])
        if place[-1:] and _ONE_OF_SEVERAL.match(place[-1]):  # the others say what else it may be
            place = place[:-1]
            others = [each for each in others if _written(tree, each["loc"])[: len(place)] != place]
            first["msg"] = f"must be {_described(place)}"
        key = ".".join(place)
        by_flag = key and any(key == given or key.startswith(f"{given}.") for given in overridden)
        if any(not key or given.startswith(f"{key}.") for given in overridden):
            name = f"{name} with --set"  # what has to hold between several keys
        place = _without_number(place)
        keys = {".".join(_without_number(_written(tree, each["loc"]))) for each in others}
        num = len(keys - {".".join(place)})
        more = f" (and {num} more)" if num else ""
        raise ConfigError(
            f"{'--set' if by_flag else name}: {_sentence(first, place)}{more}"
        ) from error


def save_config(store: BlobStore, config: Config) -> None:
    """Lay the resolved configuration down in the run, for every process that works on it."""
    store.publish(layout.CONFIG, config.model_dump_json(indent=1).encode())


def load_config(store: BlobStore) -> Config:
    """The configuration a run was last started with.

    Raises:
        BlobMissing: nothing was started in this run yet.
        ConfigError: what is there is no configuration.
    """
    data = store.get_bytes(layout.CONFIG)
    try:
        return Config.model_validate_json(data)
    except ValidationError as error:
        raise ConfigError(
            f"{layout.CONFIG} of the run is damaged; start the run with its file again, by --config"
        ) from error


def commented(config: Config) -> str:
    """The configuration as TOML, each key with a comment that says what it is for."""
    return "\n".join(_sections(config)) + "\n"


def _sections(config: Config) -> Iterator[str]:
    first = True
    for name in type(config).model_fields:
        if not first:
            yield ""
        first = False
        yield from _section(f"[{name}]", getattr(config, name))


def _section(title: str, section: BaseModel) -> Iterator[str]:
    yield f"{title}  # {(type(section).__doc__ or '').splitlines()[0]}"
    tables: list[tuple[str, BaseModel]] = []
    dumped = section.model_dump()
    for key, info in type(section).model_fields.items():
        value = getattr(section, key)
        if isinstance(value, tuple) and value and isinstance(value[0], Section):
            name = f"{title.strip('[]')}.{key}"
            name = f"[{name}]" if isinstance(dumped[key], dict) else f"[[{name}]]"
            tables += [(name, each) for each in value]
            continue
        line = f"# {key} =" if value is None else f"{key} = {_toml(value)}"
        yield f"{line:<32}  # {info.description}"
    for name, table in tables:
        yield ""
        yield from _section(name, table)


def _toml(value: Any) -> str:
    if isinstance(value, BaseModel):
        value = value.model_dump()
    if isinstance(value, dict):
        pairs = (f"{_toml_key(key)} = {_toml(item)}" for key, item in value.items())
        return "{ " + ", ".join(pairs) + " }"
    if isinstance(value, tuple):
        return "[" + ", ".join(_toml(item) for item in value) + "]"
    # Strings, numbers and booleans look the same in JSON and TOML.
    return json.dumps(value, ensure_ascii=False)


def _toml_key(key: str) -> str:
    return key if _BARE_KEY.fullmatch(key) else json.dumps(key, ensure_ascii=False)


def _read_toml(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise ConfigError(f"{path} does not exist; `atoll init {path}` writes one") from error
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path} is no text; give a TOML file, see `atoll init`") from error
    except OSError as error:
        raise ConfigError(f"{path} cannot be read ({error.strerror}); give a TOML file") from error
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"{path} is not valid TOML: {error}") from error


def _keys(overrides: Sequence[str]) -> list[str]:
    return [override.partition("=")[0].strip() for override in overrides]


def _apply(tree: dict[str, Any], override: str) -> None:
    key, equals, text = override.partition("=")
    section, dot, name = key.strip().partition(".")
    if not (equals and dot and section and name):
        raise ConfigError(f"--set {hidden(override)}: write it as section.key=value")
    try:
        value = tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        value = text.strip()
    *parents, leaf = key.strip().split(".")
    place = tree
    for parent in parents:
        place = place.setdefault(parent, {})
        if not isinstance(place, dict):
            raise ConfigError(
                hidden(f"--set {override}: {parent} is {place!r}, which has no keys of its own")
            )
    place[leaf] = value


def _written(tree: Any, place: Sequence[str | int]) -> list[str]:
    """Where something stands in the file: one table may stand for a list of one."""
    words = []
    for part in place:
        if isinstance(tree, dict) and isinstance(part, int):
            continue
        words.append(str(part))
        if isinstance(tree, dict):
            tree = tree.get(part)
        elif isinstance(tree, list | tuple) and isinstance(part, int):
            tree = tree[part]
    return words


def _sentence(problem: Any, place: Sequence[str]) -> str:
    key = ".".join(place)
    if problem["type"] == "extra_forbidden":
        return f"{key} is not a known key{_hint(place)}"
    message: str = problem["msg"].removeprefix("Value error, ").replace("Input should", "must")
    message = message.replace("must be a valid tuple", "must be a list in brackets")
    if problem["type"] == "too_short":
        message = f"must name at least {problem['ctx']['min_length']}"
    given = problem.get("input")
    words = given.isoformat() if isinstance(given, date | time) else repr(given)
    shown = "" if isinstance(given, dict | BaseModel) else f" (got {hidden(words)})"
    if not key:
        return message
    within = _OF_A_KEY.match(message)  # what is wrong with a section begins with one of its keys
    return f"{key}{'.' if within else ': '}{message}{shown}"


def _without_number(place: list[str]) -> list[str]:
    """The key of a list, in place of its item, which is shown."""
    return place[:-1] if place[-1:] and place[-1].isdecimal() else place


def _described(place: Sequence[str]) -> str:
    """What may stand at a key of a section, as the section tells."""
    section, key = place
    model: BaseModel = getattr(Config(), section)
    return type(model).model_fields[key].description or ""


def _hint(place: Sequence[str]) -> str:
    model: BaseModel = Config()
    words = [part for part in place[:-1] if not part.isdecimal()]
    for part in words:
        inner = getattr(model, part, None)
        inner = inner[0] if isinstance(inner, tuple) and inner else inner
        model = inner if isinstance(inner, BaseModel) else model
    near = difflib.get_close_matches(place[-1], type(model).model_fields, n=1)
    prefix = f"{'.'.join(words)}." if words else ""
    if near:
        return f"; did you mean {prefix}{near[0]}?"
    return (
        f"; {'its section' if prefix else 'the file'} knows {', '.join(type(model).model_fields)}"
    )
