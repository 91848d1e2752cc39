"""A fleet remembers the islands that live, however many have gone."""

from __future__ import annotations

from atoll.types import Wait
from orchestrator.fleet import operations
from orchestrator.fleet.islands import Islands
from orchestrator.fleet.state import Island


def gone(number):
    return Island(f"island-{number}", float(number), "gone")


def test_islands_forget_the_first_of_too_many_that_are_gone():
    islands = Islands().updated([Island("alive", 0.0)])
    for number in range(1000):
        islands = islands.updated([Island(f"island-{number}", 0.0)]).updated([gone(number)])
    assert len(islands) == 201
    assert list(islands) == ["alive", *(f"island-{number}" for number in range(800, 1000))]
    assert islands.get("island-799") is None
    assert "island-800" in islands
    assert islands["alive"].state == "idle"


def test_islands_keep_one_that_came_back():
    islands = Islands().updated([gone(-1)]).updated([Island("island--1", 5.0)])
    for number in range(1000):
        islands = islands.updated([gone(number)])
    assert islands["island--1"].heard_at == 5.0
    islands = islands.updated([gone(-1)])
    for number in range(1000, 1200):
        islands = islands.updated([gone(number)])
    assert "island--1" not in islands


def test_islands_many_at_once_keep_the_last():
    islands = Islands().updated([gone(number) for number in range(500)])
    assert list(islands) == [f"island-{number}" for number in range(300, 500)]


def test_fleet_of_islands_that_come_and_go_does_not_grow(game):
    game.submit()
    for number in range(1000):
        name = f"island-{number}"
        game.ask(name)
        game.apply(operations.island_gone(game.fleet, name, "reclaimed", game.now))
        game.now += 1000
    assert len(game.fleet.islands) == 200
    assert game.job().epoch == 1000
    assert not isinstance(game.ask("island-1000"), Wait)
