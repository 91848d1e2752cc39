"""A run that is trained on while it is served: its newer checkpoints take over, or are refused."""

from __future__ import annotations

import threading

import pytest
import torch

from atoll.errors import BadInput, NotFound
from experts.files import EMA
from serving.service import load
from serving.service.order import Order
from tests.serving.built import finished, until
from tests.serving.followed import Followed


class Networks:
    """Built as ever; of a checkpoint, by its key, the test may say what is done instead."""

    def __init__(self):
        self.build, self.instead = load.build_expert, {}

    def build_expert(self, described, weights):
        network, key = self.build(described, weights), described.ref.key
        return lambda *asked: self.instead.get(key, plainly)(network, *asked)


def plainly(network, *asked):
    return network(*asked)


def broken(network, *asked):
    raise ValueError("it draws no more")


@pytest.fixture
def networks(monkeypatch):
    networks = Networks()
    monkeypatch.setattr(load, "build_expert", networks.build_expert)
    return networks


@pytest.fixture
def follow(trained, networks):
    made = []

    def make(**serving):
        made.append(Followed(trained, **serving))
        return made[-1]

    yield make
    for each in made:
        each.service.close()


def poisoned(weights):
    return {name: torch.full_like(tensor, torch.nan) for name, tensor in weights.items()}


def key_of_expert_1(edition):
    (key,) = (it for it in edition.holder.resident if "expert-1" in it)
    return key


def test_newer_checkpoints_get_their_share_then_all_orders(follow):
    followed = follow(canary=0.5, canary_s=60.0)
    followed.follower.look()
    old = followed.first.name
    assert followed.states() == [(old, "serving")]
    followed.train_on()
    followed.follower.look()
    (_, new) = (name for name, _ in followed.states())
    assert followed.states() == [(old, "serving"), (new, "canary")]
    drawn = [followed.draw() for _ in range(6)]
    assert {view.state for _, view in drawn} == {"done"}
    of_old = dict(followed.first.menu.checkpoints)
    assert [its == of_old for its, _ in drawn].count(True) == 3
    followed.clock.now += 61
    until(lambda: followed.states() == [(old, "previous"), (new, "serving")])
    assert followed.service.edition.name == new
    its, view = followed.draw()
    assert its != of_old
    assert view.state == "done"


def test_swap_keeps_shared_experts_in_memory_and_frees_the_old_ones(follow):
    followed = follow(canary=0.0)
    followed.draw(strategy="full")
    came = [it.expert for it in followed.told if type(it).__name__ == "Came"]
    assert sorted(came) == [0, 1]
    key = followed.train_on()
    followed.follower.look()
    assert followed.draw(strategy="full")[1].state == "done"
    came = [it.expert for it in followed.told if type(it).__name__ == "Came"]
    assert sorted(came) == [0, 1, 1]
    kept = followed.first.holder.resident
    assert key in kept
    assert len(kept) == 2


def test_orders_under_way_finish_on_what_they_began_with(follow, networks):
    followed, go_on = follow(canary=0.0), threading.Event()

    def held(network, *asked):
        assert go_on.wait(60)
        return network(*asked)

    followed.draw(strategy="full")
    networks.instead[key_of_expert_1(followed.first)] = held
    slow = followed.service.order(Order(seed=1, strategy="full"), "me")
    followed.train_on(lambda weights: {k: 2 * v for k, v in weights.items()})
    followed.follower.look()
    assert len(followed.states()) == 2
    assert not slow.view().is_over
    go_on.set()
    assert finished(slow).state == "done"
    before, (after, new) = slow.recipes[0].checkpoints, followed.draw(strategy="full")
    assert before == dict(followed.first.menu.checkpoints) != after
    assert (slow.view().images[0].image != new.images[0].image).any()


@pytest.mark.parametrize(
    ("damage", "reason"),
    [
        (lambda it: it.train_on(poisoned), "finite"),
        (lambda it: it.train_on(shape=(1, 4, 4)), "fit"),
        (lambda it: (it.trained.folder / "run" / it.train_on() / EMA).write_bytes(b"no"), "digest"),
    ],
    ids=["not finite", "misfit", "damaged"],
)
def test_checkpoints_that_cannot_be_drawn_from_are_refused(follow, caplog, damage, reason):
    followed = follow(canary=0.0)
    damage(followed)
    for _ in range(3):
        followed.follower.look()
    assert followed.states() == [(followed.first.name, "serving")]
    assert followed.draw()[1].state == "done"
    assert any("newer checkpoints are not served" in it.message for it in caplog.records)
    assert any(reason in it.fields["reason"] for it in caplog.records)


def test_newer_checkpoints_without_memory_for_their_slots_leave_that_for_experts(
    follow, monkeypatch, caplog
):
    followed = follow(canary=0.0)
    key, residency = followed.train_on(), followed.first.holder

    def fill(*_, **__):
        until(lambda: key in residency.resident)  # as the memory brings in all that fit
        raise torch.OutOfMemoryError("no room for slots")

    with monkeypatch.context() as patch:
        patch.setattr(load, "Engine", fill)
        followed.follower.look()
    assert "no room for slots" in [it.fields["reason"] for it in caplog.records]
    assert key not in residency.resident


def test_canary_whose_orders_fail_is_rolled_back_by_itself(follow, networks, caplog):
    caplog.set_level("INFO")
    followed = follow(canary=0.5, canary_s=1e6)
    key = followed.train_on()
    followed.follower.look()
    assert len(followed.states()) == 2
    networks.instead[key] = broken
    outcomes = [followed.draw(strategy="full")[1].state for _ in range(8)]
    assert outcomes.count("failed") == 3
    until(lambda: followed.states() == [(followed.first.name, "serving")])
    (why,) = [it.fields["why"] for it in caplog.records if it.message == "edition rolled back"]
    assert why == "100% of its orders failed, and 0% of those of the edition beside it"
    assert key not in followed.first.holder.resident
    followed.follower.look()
    assert len(followed.states()) == 1


def test_canary_gets_all_orders_at_once_where_those_of_the_old_edition_fail(follow, networks):
    followed = follow(canary=0.5, canary_s=1e6)
    followed.draw(strategy="full")
    old = followed.first.name
    networks.instead[key_of_expert_1(followed.first)] = broken
    followed.train_on()
    followed.follower.look()
    new = followed.states()[1][0]
    outcomes = [followed.draw(strategy="full")[1].state for _ in range(8)]
    assert outcomes.count("failed") == 3
    assert followed.states() == [(old, "previous"), (new, "serving")]


def test_edition_whose_engine_breaks_off_can_be_left_and_gives_its_memory_back(follow, monkeypatch):
    followed = follow(canary=0.0)
    key, service = followed.train_on(), followed.service
    followed.follower.look()
    new = service.edition
    assert followed.draw(strategy="full")[1].state == "done"
    assert key in new.holder.resident

    def tick():
        raise ValueError("it knows no way out")

    monkeypatch.setattr(new.engine, "tick", tick)
    assert "broke off with ValueError" in followed.draw()[1].reason
    service.roll_back(new.name)
    until(lambda: followed.states() == [(followed.first.name, "serving")])
    assert key not in new.holder.resident
    assert followed.draw(strategy="full")[1].state == "done"


def test_operator_promotes_and_rolls_back(follow):
    followed = follow(canary=0.001, canary_s=1e6)
    service, old = followed.service, followed.first.name
    with pytest.raises(BadInput, match="first one"):
        service.roll_back(old)
    with pytest.raises(BadInput, match="only a canary"):
        service.promote(old)
    with pytest.raises(NotFound, match="nothing"):
        service.promote("nothing")
    followed.train_on()
    followed.follower.look()
    new = followed.states()[1][0]
    service.promote(new)
    assert followed.states() == [(old, "previous"), (new, "serving")]
    service.roll_back(new)
    assert service.edition.name == old
    its, view = followed.draw(strategy="full")
    assert its == dict(followed.first.menu.checkpoints)
    assert view.state == "done"
    until(lambda: followed.states() == [(old, "serving")])
