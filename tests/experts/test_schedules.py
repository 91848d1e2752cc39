import json
import math

import numpy as np
import pytest

from atoll import layout
from atoll.blobs import open_store
from atoll.training_section import TrainingSection
from experts.schedules import rate_of, refined, stored_norms


def rates(schedule, steps, warmup=0):
    training = TrainingSection(
        learning_rate=0.5, schedule=schedule, steps=steps, warmup_steps=warmup
    )
    rate = rate_of(training)
    return [rate(num_done) for num_done in range(steps)]


def test_constant_rate_after_warm_up_stays():
    assert rates("constant", 5, 2) == [0.25, 0.5, 0.5, 0.5, 0.5]


def test_constant_rate_may_warm_up_in_all_of_its_steps():
    rate = rate_of(TrainingSection(learning_rate=0.5, steps=2, warmup_steps=2))
    assert [rate(num_done) for num_done in range(3)] == [0.25, 0.5, 0.5]


def test_linear_rate_falls_in_equal_steps_and_would_reach_zero_with_the_next():
    assert rates("linear", 4) == [0.5, 0.375, 0.25, 0.125]


def test_linear_rate_after_warm_up_falls_over_the_steps_that_are_left():
    assert rates("linear", 6, 2) == [0.25, 0.5, 0.5, 0.375, 0.25, 0.125]


def test_cosine_rate_is_half_a_wave():
    half = 0.5 * (1 + math.sqrt(0.5)) / 2
    assert rates("cosine", 5, 1) == pytest.approx([0.5, 0.5, half, 0.25, 0.5 - half], abs=1e-15)


def test_refined_schedule_of_constant_norms_is_linear_decay():
    norms = [(step, 3.0) for step in range(20, 1001, 20)]
    for num_steps in (1000, 700, 1):  # of another length, too
        expected = 1 - np.arange(num_steps) / num_steps
        np.testing.assert_allclose(refined(norms, num_steps), expected, rtol=1e-12)


def test_refined_schedule_of_a_few_steps_is_as_by_hand():
    # Weights 1/2, 1, 1, 1/2, and 1/2 of the iterate that is the result; later ones add up to
    # 3, 2, 1, 1/2; their products, 3/2, 2, 1, 1/4.
    norms = [(1, 2.0), (2, 1.0), (3, 1.0), (4, 2.0)]
    assert refined(norms, 4).tolist() == [0.75, 1.0, 0.5, 0.125]


def test_refined_schedule_warms_up_where_gradients_are_large_at_first():
    norms = [(step, 10.0 if step <= 20 else 1.0) for step in range(1, 101)]
    factors = refined(norms, 100)
    assert factors[0] < 0.2
    assert 15 < factors.argmax() < 25
    assert all(np.diff(factors[25:]) < 0)


def test_refined_schedule_forgets_a_single_leap():
    smooth = [(step, 1.0 + step / 100) for step in range(1, 41)]
    leap = [(step, 1000.0 if step == 17 else norm) for step, norm in smooth]
    np.testing.assert_allclose(refined(leap, 40), refined(smooth, 40), rtol=0.02)


def test_refined_schedule_is_the_same_for_gradients_of_another_scale():
    sizes = np.random.default_rng(0).uniform(0.5, 2.0, 200)
    one, other = (refined(list(enumerate(scale * sizes, start=1)), 200) for scale in (1, 7))
    np.testing.assert_allclose(one, other, rtol=1e-12)
    assert one.max() == 1


def test_rate_of_a_refined_schedule_is_that_of_the_stored_curve(tmp_path):
    store = open_store(str(tmp_path))
    points = [[1, 2.0], [2, 1.0], [3, 1.0], [4, 2.0]]
    tree = {"from": "runs/earlier", "points": points}
    store.publish(layout.refined_schedule("expert-1"), json.dumps(tree).encode())
    training = TrainingSection(
        schedule="refined", refined_from="runs/earlier", steps=4, learning_rate=0.5
    )
    rate = rate_of(training, stored_norms(store, "expert-1"))
    assert [rate(num_done) for num_done in range(4)] == [0.375, 0.5, 0.25, 0.0625]
