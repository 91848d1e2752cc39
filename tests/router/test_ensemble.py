"""The ensemble of exact experts and gate is the whole data set's velocity field."""

import pytest
import torch

from atoll.errors import BadInput
from experts.converted import Converted
from experts.schedule import NoiseSchedule
from router.ensemble import Ensemble, alone
from router.gate import uniform_gate
from router.rows import Rows
from router.selection import parse_strategy

CPU = torch.device("cpu")
MASS_KEEPING = ("full", "top-3", "top-9", "threshold-0.0", "nucleus-1.0")
ALL = (*MASS_KEEPING, "top-1", "threshold-0.4", "nucleus-0.7", "sample", "ancestral", "coupled")


class Counted:
    """A velocity field that remembers which rows it was given."""

    def __init__(self, field):
        self.field = field
        self.batches = []

    def __call__(self, x_t, t, cond):
        self.batches.append(x_t)
        return self.field(x_t, t, cond)

    @property
    def num_rows(self):
        return sum(len(batch) for batch in self.batches)


def ensemble_of(mixture, strategy, experts=None):
    return Ensemble(experts or mixture.experts(), mixture.gate, parse_strategy(strategy))


def begun(ensemble, x_t, cond):
    return ensemble.begin(torch.randn_like(x_t), cond, Rows.of(range(len(x_t)), CPU))


@pytest.mark.parametrize("strategy", MASS_KEEPING)
@pytest.mark.parametrize("conditional", [False, True])
def test_ensemble_that_keeps_all_mass_is_the_global_velocity(mixture, batch, strategy, conditional):
    x_t, t, cond = batch
    cond = cond if conditional else None

    velocity = ensemble_of(mixture, strategy)(x_t, t, cond)

    torch.testing.assert_close(velocity, mixture.velocity(x_t, t, cond), rtol=0, atol=1e-9)


@pytest.mark.parametrize("strategy", MASS_KEEPING)
def test_ensemble_in_single_precision_is_the_global_velocity_to_1e_5(mixture, batch, strategy):
    x_t, t, cond = batch
    experts = [
        lambda x, t, c, k=k: mixture.velocity(x.double(), t.double(), c, k).float()
        for k in range(mixture.num_clusters)
    ]
    ensemble = Ensemble(
        experts,
        lambda x, t, c: mixture.gate(x.double(), t.double(), c).float(),
        parse_strategy(strategy),
    )

    velocity = ensemble(x_t.float(), t.float(), cond)

    exact = mixture.velocity(x_t.float().double(), t.float().double(), cond).float()
    torch.testing.assert_close(velocity, exact, rtol=1e-5, atol=1e-5)


def telling(field, told, schedule):
    """A network that tells noise or v where a field knows the velocity, on a schedule."""

    def tell(z, s, cond):
        t = torch.sigmoid(-schedule.signal_at(1000 * s.double())).reshape(-1, 1, 1, 1)
        x_t = z * (t**2 + (1 - t) ** 2).sqrt()
        velocity = field(x_t, t.flatten(), cond)
        noise, image = x_t + (1 - t) * velocity, x_t - t * velocity
        v = ((1 - t) * noise - t * image) / (t**2 + (1 - t) ** 2).sqrt()
        return noise if told == "epsilon" else v

    return tell


def test_ensemble_of_experts_that_tell_noise_v_and_velocity_is_the_global_velocity(mixture, batch):
    x_t, _, cond = batch
    t = torch.linspace(0.05, 0.95, len(x_t), dtype=torch.float64)
    schedule = NoiseSchedule("cosine")
    fields = mixture.experts()
    experts = [
        Converted(telling(fields[0], "epsilon", schedule), "epsilon", schedule),
        Converted(telling(fields[1], "v", schedule), "v", schedule),
        *fields[2:],
    ]

    velocity = ensemble_of(mixture, "full", experts)(x_t, t, cond)

    exact = mixture.velocity(x_t, t, cond)
    # Times go through single precision on their way to a step, and of a noise by 1 / (1 - t).
    torch.testing.assert_close(velocity, exact, rtol=0, atol=2e-4)


@pytest.mark.parametrize("strategy", ALL)
def test_equal_experts_are_one_expert(mixture, batch, strategy):
    x_t, t, cond = batch
    ensemble = ensemble_of(mixture, strategy, [mixture.velocity] * 3)

    velocity = ensemble(x_t, t, cond, begun(ensemble, x_t, cond))

    torch.testing.assert_close(velocity, mixture.velocity(x_t, t, cond), rtol=0, atol=1e-12)


@pytest.mark.parametrize("strategy", ALL)
def test_experts_are_given_their_rows_and_no_others(mixture, batch, strategy):
    x_t, t, cond = batch
    experts = [Counted(expert) for expert in mixture.experts()]
    ensemble = ensemble_of(mixture, strategy, experts)
    rows = begun(ensemble, x_t, cond)

    ensemble(x_t, t, cond, rows)

    weights = ensemble.route(x_t, t, cond, rows).weights
    for k, expert in enumerate(experts):
        mine = weights[:, k] > 0
        assert len(expert.batches) == int(mine.any())
        assert all(torch.equal(given, x_t[mine]) for given in expert.batches)


def test_top_1_costs_one_expert_row_for_each_image(mixture, batch):
    x_t, t, cond = batch
    experts = [Counted(expert) for expert in mixture.experts()]

    ensemble_of(mixture, "top-1", experts)(x_t, t, cond)

    assert sum(expert.num_rows for expert in experts) == len(x_t)


@pytest.mark.parametrize("strategy", ALL)
def test_rows_at_mixed_times_go_as_they_would_alone(mixture, batch, strategy):
    x_t, t, cond = batch
    ensemble = ensemble_of(mixture, strategy)
    rows = begun(ensemble, x_t, cond)

    together = ensemble(x_t, t, cond, rows)

    each = [torch.tensor([i]) for i in range(len(x_t))]
    apart = torch.cat([ensemble(x_t[i], t[i], cond[i], rows[i]) for i in each])
    torch.testing.assert_close(together, apart, rtol=0, atol=1e-12)


@pytest.mark.parametrize("strategy", ["sample", "ancestral", "coupled"])
def test_selection_that_draws_without_rows_is_refused(mixture, batch, strategy):
    with pytest.raises(BadInput, match=f"{strategy} selection draws"):
        ensemble_of(mixture, strategy)(*batch)


def test_ancestral_rows_that_were_not_begun_are_refused(mixture, batch):
    x_t, t, cond = batch
    with pytest.raises(BadInput, match="begin the rows"):
        ensemble_of(mixture, "ancestral")(x_t, t, cond, Rows.of(range(len(x_t)), CPU))


@pytest.mark.parametrize("label", [0, 1, 2])
def test_ancestral_choice_is_spread_as_the_class_over_clusters(mixture, label):
    num = 20_000
    noise = torch.zeros(num, 1, 1, mixture.dims, dtype=torch.float64)
    cond = torch.full((num,), label)

    rows = ensemble_of(mixture, "ancestral").begin(noise, cond, Rows.of(range(num), CPU))

    prior = mixture.prior(label if label < mixture.conditioning.size else None)
    share = rows.expert.bincount(minlength=mixture.num_clusters) / num
    assert (share - prior).abs().max() < 4 * (0.25 / num) ** 0.5


@pytest.mark.parametrize("strategy", ["coupled", "sample"])
def test_drawn_experts_are_spread_as_the_posterior(mixture, strategy):
    num = 20_000
    point = torch.tensor([0.0, 0.4], dtype=torch.float64).expand(num, 1, 1, 2)
    t = torch.full((num,), 0.8, dtype=torch.float64)

    routing = ensemble_of(mixture, strategy).route(point, t, None, Rows.of(range(num), CPU))

    posterior = mixture.gate(point[:1], t[:1], None)[0]
    assert posterior.max() < 0.9
    assert (routing.weights.mean(0) - posterior).abs().max() < 4 * (0.25 / num) ** 0.5


def test_coupled_choice_stays_where_the_posterior_does_and_sample_does_not(mixture):
    rows = Rows.of(range(500), CPU)
    x_t = torch.zeros(500, 1, 1, 2, dtype=torch.float64)
    times = [torch.full((500,), at, dtype=torch.float64) for at in (1.0, 0.999)]

    def choices(strategy):
        ensemble = ensemble_of(mixture, strategy)
        return [ensemble.route(x_t, t, None, rows).weights.argmax(1) for t in times]

    coupled, sample = choices("coupled"), choices("sample")

    assert (coupled[0] != coupled[1]).double().mean() < 0.02
    assert (sample[0] != sample[1]).double().mean() > 0.4


def test_bound_rows_follow_their_expert_past_the_gate(mixture, batch):
    x_t, t, cond = batch
    seen = []

    def gate(x_t, t, cond):
        seen.append(len(x_t))
        return mixture.gate(x_t, t, cond)

    ensemble = Ensemble(mixture.experts(), gate, parse_strategy("top-1"))
    expert = torch.arange(len(x_t)) % 4 - 1  # every fourth row is free
    rows = Rows.of(range(len(x_t)), CPU).bound(expert)

    routing = ensemble.route(x_t, t, cond, rows)

    assert seen == [16]
    assert routing.num_gated == 16
    free = expert < 0
    assert torch.equal(routing.weights[~free].argmax(1), expert[~free])
    expected = ensemble.route(x_t[free], t[free], cond[free]).weights
    torch.testing.assert_close(routing.weights[free], expected)


def test_rows_that_are_all_bound_need_no_gate(mixture, batch):
    def gate(x_t, t, cond):
        raise AssertionError("asked")

    x_t, t, cond = batch
    rows = Rows.of(range(len(x_t)), CPU).bound(torch.ones(len(x_t), dtype=torch.int64))

    velocity = Ensemble(mixture.experts(), gate, parse_strategy("full"))(x_t, t, cond, rows)

    torch.testing.assert_close(velocity, mixture.velocity(x_t, t, cond, cluster=1))


def test_watcher_is_told_each_routing(mixture, batch):
    x_t, t, cond = batch
    routings = []
    ensemble = Ensemble(
        mixture.experts(), mixture.gate, parse_strategy("top-2"), watch=routings.append
    )

    ensemble(x_t, t, cond)

    assert torch.equal(routings[0].t, t)
    assert torch.equal(routings[0].weights, ensemble.route(x_t, t, cond).weights)


def test_single_expert_as_an_ensemble_is_itself(mixture, batch):
    expert = mixture.expert(1)

    assert torch.equal(alone(expert, CPU)(*batch), expert(*batch))


def test_uniform_gate_gives_the_mean_of_the_experts(mixture, batch):
    ensemble = Ensemble(mixture.experts(), uniform_gate(3, CPU), parse_strategy("full"))

    mean = torch.stack([expert(*batch) for expert in mixture.experts()]).mean(0)
    torch.testing.assert_close(ensemble(*batch), mean, rtol=1e-6, atol=1e-6)
