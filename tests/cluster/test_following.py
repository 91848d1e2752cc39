from __future__ import annotations

import pytest

from atoll.errors import Unreachable
from atoll.types import Wait
from cluster import state_file
from cluster.following import Following


class Lonely:
    """A control plane that answers at one address only."""

    def __init__(self, answers_at: str, address: str) -> None:
        self.answers_at = answers_at
        self.address = address

    def move(self, address: str) -> None:
        self.address = address

    def acquire(self, *_: str) -> Wait:
        if self.address != self.answers_at:
            raise Unreachable(f"nobody at {self.address}")
        return Wait(1.0, dismissed=False)


def tries(control: Following, times: int) -> int:
    """How many calls it takes."""
    for number in range(times):
        try:
            control.acquire("island-1", "r")
        except Unreachable:
            continue
        return number + 1
    raise AssertionError("never answered")


@pytest.mark.parametrize(("leads", "number"), [("a:1", 1), ("b:1", 2), ("c:1", 3)])
def test_following_tries_one_address_after_the_other_and_stays_where_it_is_answered(leads, number):
    client = Lonely(leads, "a:1")
    control = Following(client, ["a:1", "b:1", "c:1"], "run", None)
    assert tries(control, 3) == number
    assert tries(control, 1) == 1
    client.answers_at = "a:1"
    assert tries(control, 3) <= 3


def test_following_goes_where_the_file_says_and_back_to_the_addresses_when_it_is_old(tmp_path):
    file, client = tmp_path / "orchestrator.json", Lonely("d:1", "a:1")
    control = Following(client, ["a:1", "b:1"], "run", file)
    state_file.write(file, {"run": "another", "address": "d:1"})
    with pytest.raises(Unreachable):
        control.acquire("island-1", "r")
    state_file.write(file, {"run": "run", "address": "d:1"})
    assert tries(control, 1) == 1
    client.answers_at = "b:1"
    assert tries(control, 3) <= 3


def test_following_one_address_stays_there():
    client = Lonely("b:1", "a:1")
    control = Following(client, ["a:1"], "run", None)
    for _ in range(3):
        with pytest.raises(Unreachable, match="a:1"):
            control.acquire("island-1", "r")
