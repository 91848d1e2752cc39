"""What this machine can do, what a configuration asks of it, and what is missing."""

from __future__ import annotations

import json
import os
import platform
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from importlib import metadata
from pathlib import Path
from typing import Literal

import psutil
from packaging.requirements import Requirement

from atoll import layout
from atoll.address import split_address
from atoll.blobs import local_path, open_store
from atoll.config import Config
from atoll.config_file import run_config
from atoll.errors import BadInput, BlobError, ConfigError
from atoll.passwords import hidden
from atoll.ports import listening_on

Verdict = Literal["ok", "note", "missing"]
Finding = dict[str, str]

_GIB = 2**30
_LEAST_GIB = 1.0
_PROBE_S = 120.0
_EXTRAS = (
    "train",
    "evaluate",
    "transformers",
    "latents",
    "ode",
    "s3",
    "postgres",
    "dht",
    "deepspeed",
)

# Run in a process of its own, so that the control plane never loads torch.
_PROBE = """
import json, time, torch
a = torch.randn(1024, 1024)
a @ a
begin = time.perf_counter()
for _ in range(8): a @ a
rate = 8 * 2 * 1024**3 / (time.perf_counter() - begin) / 1e9
gpus = [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())]
print(json.dumps({"torch": torch.__version__, "threads": torch.get_num_threads(), "gflops": rate,
    "gpus": gpus, "gloo": torch.distributed.is_gloo_available(),
    "nccl": torch.distributed.is_nccl_available()}))
"""


def examine(path: Path | None, overrides: Sequence[str]) -> list[Finding]:
    """Look at this machine, the installation, and what the configuration asks of them.

    Args:
        path: the configuration's file, see :func:`atoll.config_file.run_config`.
        overrides: as there.

    Raises:
        ConfigError: the configuration cannot be used.
    """
    findings = [*_machine(), *_packages(), *_torch()]
    try:
        settings = run_config(path, overrides)
    except (BlobError, BadInput) as error:
        if isinstance(error, ConfigError):
            raise
        return [
            *findings,
            finding("run.uri", "missing", str(error), "make it readable, or set it"),
        ]
    return [*findings, *_configuration(settings)]


def finding(what: str, verdict: Verdict, found: str, mend: str = "") -> Finding:
    """A row of the doctor's table."""
    return {"what": what, "verdict": verdict, "found": found, "mend": mend}


def _machine() -> Iterator[Finding]:
    yield finding("python", "ok", f"{platform.python_version()} on {platform.platform(terse=True)}")
    memory = psutil.virtual_memory()
    yield finding(
        "processor",
        "ok",
        f"{os.cpu_count()} cores, {memory.total / _GIB:.0f} GiB memory, "
        f"{memory.available / _GIB:.0f} GiB free",
    )


def _packages() -> Iterator[Finding]:
    """One finding for each extra: all of it there, or what is not."""
    missing: dict[str, list[str]] = {}
    for text in metadata.requires("atoll") or ():
        requirement = Requirement(text)
        for extra in _EXTRAS:
            marker = requirement.marker
            if marker is None or marker.evaluate({"extra": ""}):
                continue
            if marker.evaluate({"extra": extra}):
                absent = missing.setdefault(extra, [])
                absent += [] if _satisfied(requirement) else [str(requirement.name)]
    for extra, absent in missing.items():
        if absent:
            needed: Verdict = "missing" if extra in {"train", "evaluate"} else "note"
            yield finding(
                f"atoll[{extra}]",
                needed,
                f"without {', '.join(absent)}",
                f"pip install 'atoll[{extra}]'",
            )
        else:
            yield finding(f"atoll[{extra}]", "ok", "installed")


def _satisfied(requirement: Requirement) -> bool:
    try:
        return requirement.specifier.contains(metadata.version(requirement.name), prereleases=True)
    except metadata.PackageNotFoundError:
        return False


def _torch() -> Iterator[Finding]:
    # Without -P, a file called torch.py in the folder it is run in would be taken for torch.
    command = [sys.executable, "-P", "-c", _PROBE]
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, check=False, timeout=_PROBE_S
        )
    except subprocess.TimeoutExpired:
        words = f"does not come up within {_PROBE_S:g} s"
        yield finding("torch", "missing", words, "free the machine, and look again")
        return
    if done.returncode:
        last = done.stderr.strip().splitlines()[-1:]
        yield finding("torch", "missing", " ".join(last), "pip install 'atoll[train]'")
        return
    probe = json.loads(done.stdout)
    yield finding(
        "torch",
        "ok",
        f"{probe['torch']}, {probe['gflops']:.0f} GFLOP/s in fp32 on {probe['threads']} threads",
    )
    gpus = ", ".join(probe["gpus"])
    yield finding(
        "gpu",
        "ok" if gpus else "note",
        gpus or "none: training runs on the processor",
        "" if gpus else "fine for small runs; use nodes with GPUs for large ones",
    )
    backends = [name for name in ("gloo", "nccl") if probe[name]]
    yield finding("torch.distributed", "ok" if backends else "missing", ", ".join(backends))
    compiler = shutil.which("c++") or shutil.which("g++") or shutil.which("clang++")
    yield finding(
        "torch.compile",
        "ok" if compiler or gpus else "note",
        compiler or "no C++ compiler",
        "" if compiler or gpus else "install g++, or keep training.compile = false",
    )


def _configuration(config: Config) -> Iterator[Finding]:
    folder = local_path(config.run.uri)
    if folder is not None:
        existing = next(
            path for path in (folder.absolute(), *folder.absolute().parents) if path.exists()
        )
        yield _place(folder, existing)
    else:
        yield _store(config.run.uri)
    if config.orchestrator.tls:
        yield _certificates(Path(config.orchestrator.tls))
    yield from _address("orchestrator.listen", config.orchestrator.listen)
    if config.orchestrator.web:
        yield from _address("orchestrator.web", config.orchestrator.web)
    if config.orchestrator.database:
        yield _database(config.orchestrator.database)
    if config.data.path is None and config.data.source != "digits":
        words = f'data.source = "{config.data.source}" needs one'
        yield finding("data.path", "missing", words, "set data.path")
    if config.data.path is not None and "{" not in config.data.path:
        there = Path(config.data.path).exists()
        yield finding(
            "data.path",
            "ok" if there else "missing",
            config.data.path if there else f"{config.data.path} does not exist",
            "" if there else "set data.path",
        )


def _place(folder: Path, existing: Path) -> Finding:
    """Whether a run can be written: tried, because not every folder that looks so takes files."""
    free = shutil.disk_usage(existing).free / _GIB
    try:
        if not existing.is_dir():
            raise NotADirectoryError(f"{existing} is not a folder")
        with tempfile.TemporaryFile(dir=existing):
            pass
    except OSError as error:
        words = f"{existing} cannot be written: {error.strerror or error}"
        return finding("run.uri", "missing", words, "choose another run.uri")
    if free < _LEAST_GIB:
        words = f"{folder}, only {free:.1f} GiB free"
        return finding("run.uri", "note", words, "make room, or choose another run.uri")
    return finding("run.uri", "ok", f"{folder}, {free:.0f} GiB free")


def _store(uri: str) -> Finding:
    """Whether a bucket, or the like, can be asked for anything."""
    try:
        open_store(uri).exists(layout.CONFIG)
    except (BlobError, BadInput) as error:
        return finding("run.uri", "missing", str(error), "make it, or set another run.uri")
    return finding("run.uri", "ok", f"{uri} answers")


def _certificates(folder: Path) -> Finding:
    """Whether commands given here could show one; servers need more, see `atoll certs`."""
    from atoll.credentials import OPERATOR, read_pair  # noqa: PLC0415 - plain runs need none

    try:
        until = read_pair(folder, OPERATOR).certificate.not_valid_after_utc
    except ConfigError as error:
        return finding("orchestrator.tls", "missing", str(error), "see `atoll certs --help`")
    if until.timestamp() < time.time():
        return finding("orchestrator.tls", "missing", f"ended at {until:%Y-%m-%d}", "make it anew")
    return finding("orchestrator.tls", "ok", f"{folder}, until {until:%Y-%m-%d}")


def _database(url: str) -> Finding:
    """Whether somebody answers there, as whom the URL names."""
    import sqlalchemy as sa  # noqa: PLC0415 - most runs have none of their own

    key, shown, parsed = "orchestrator.database", hidden(url), sa.make_url(url)
    if parsed.get_backend_name() == "sqlite":
        folder = Path(parsed.database or "").parent
        if folder.is_dir():
            return finding(key, "ok", shown)
        return finding(key, "missing", f"{shown}: there is no {folder}", "make the folder")
    try:
        engine = sa.create_engine(
            parsed.set(drivername="postgresql+psycopg"),
            poolclass=sa.NullPool,
            connect_args={"connect_timeout": 5},
        )
        with engine.connect() as connection:
            connection.execute(sa.text("SELECT 1"))
    except ImportError:
        words = f"{shown}: its driver is not installed"
        return finding(key, "missing", words, "pip install 'atoll[postgres]'")
    except sa.exc.SQLAlchemyError as error:
        said = hidden(str(getattr(error, "orig", None) or error).partition("\n")[0])
        mend = "make the database, or set another URL"
        return finding(key, "missing", f"{shown}: {said}", mend)
    return finding(key, "ok", f"{shown} answers")


def _address(key: str, listen: str) -> Iterator[Finding]:
    if split_address(listen)[1] == 0:
        return
    try:
        listening_on(listen).close()
    except OSError as error:
        mend = "set it to another port, or to port 0 for any free one"
        yield finding(key, "missing", f"{listen}: {error.strerror}", mend)
    else:
        yield finding(key, "ok", f"{listen} is free")
