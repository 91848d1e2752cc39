"""Fixtures of runs with real processes."""

from __future__ import annotations

import importlib.util
import socket
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from tests.integration.runs import HERE, DigitsRun, Run, wait_until


@pytest.fixture
def make_run(tmp_path: Path) -> Iterator[Callable[..., Run]]:
    """Makes runs below the test's folder, or at a URL; what works on them is stopped afterwards."""
    made: list[Run] = []

    def make(place: str, **settings: Any) -> Run:
        made.append(Run(place if "://" in place else tmp_path / place, **settings))
        return made[-1]

    yield make
    for run in made:
        run.stop()


@pytest.fixture
def run(make_run: Callable[..., Run]) -> Run:
    return make_run("run")


@pytest.fixture
def make_digits(tmp_path: Path) -> Iterator[Callable[..., DigitsRun]]:
    """As ``make_run``, of the digits."""
    made: list[DigitsRun] = []

    def make(place: str, **settings: Any) -> DigitsRun:
        made.append(DigitsRun(tmp_path / place, **settings))
        return made[-1]

    yield make
    for run in made:
        run.stop()


@pytest.fixture
def digits(make_digits: Callable[..., DigitsRun]) -> DigitsRun:
    return make_digits("digits")


@pytest.fixture(scope="session")
def undisturbed_digits(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DigitsRun]:
    """A run of the digits to which nothing happened, stage by stage. Read it, change nothing."""
    made = DigitsRun(tmp_path_factory.mktemp("undisturbed") / "digits")
    for stage in ("partition", "train", "route"):
        command = made.launch(stage)
        told = made.finish(command)
        assert command.returncode == 0, told
    made.wait_for_its_end()
    yield made
    made.stop()


@pytest.fixture
def own_address() -> str:
    """An address of this machine that others could call."""
    found = [
        address.address
        for addresses in psutil.net_if_addrs().values()
        for address in addresses
        if address.family == socket.AF_INET and not address.address.startswith("127.")
    ]
    if not found:
        pytest.skip("this machine has no address but loopback")
    return found[0]


@pytest.fixture
def until():
    return wait_until


@pytest.fixture
def undisturbed() -> Callable[[Run], dict[str, str]]:
    """The weights a run must end with, whatever happens on the way."""
    spec = importlib.util.spec_from_file_location("fake_trainer", HERE.parent / "fake_trainer.py")
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return lambda run: {
        name: module.weights_after(name, run.steps)
        for name in (f"expert-{index}" for index in range(run.config.partition.num_experts))
    }
