import copy

import pytest
import torch

from atoll.sizes import Sizes
from atoll.training_section import TrainingSection
from experts.condition import Conditioning
from experts.dit import build_dit
from experts.expert import expert_task
from experts.flow import flow_loss
from experts.profiles import exponent
from experts.task import Examples, Place
from experts.torch_engine import TorchEngine
from tests.experts.stirred import stirred

SHAPE = (1, 8, 8)
ROUTED = {"route_tokens": 0.5, "route_after": 1, "route_before": 1}


def engine_of(**settings):
    network = stirred(build_dit(Sizes(16, 1, 2, 4), Conditioning("class", 3), SHAPE, seed=0))
    training = TrainingSection(**{"batch_size": 12, "learning_rate": 1e-2, **settings})
    return network, TorchEngine(network, flow_loss, training)


def some_examples(seed, num=12):
    generator = torch.Generator().manual_seed(seed)
    return Examples(
        x_t=torch.randn(num, *SHAPE, generator=generator),
        t=torch.rand(num, generator=generator),
        cond=torch.randint(0, 4, (num,), generator=generator),
        target=torch.randn(num, *SHAPE, generator=generator),
    )


def weights(network):
    return torch.cat([parameter.detach().flatten() for parameter in network.parameters()])


@pytest.mark.parametrize("pieces", [2, 5, 12, 20])
def test_step_in_micro_batches_equals_the_whole_batch(pieces):
    examples = some_examples(1)
    (one, whole), (other, split) = engine_of(), engine_of()
    stats = whole.step([examples])
    parts = split.step(examples.split(pieces))
    torch.testing.assert_close(parts.loss, stats.loss, rtol=1e-6, atol=1e-6)
    torch.testing.assert_close(parts.grad_norm, stats.grad_norm, rtol=1e-6, atol=1e-6)
    # AdamW's first step is lr * sign(gradient), which rounding may turn where it is nearly zero.
    differs = (weights(one) - weights(other)).abs()
    assert differs.median() < 1e-6
    assert differs.mean() < 1e-5


def test_step_reports_the_loss_and_gradient_of_plain_torch():
    examples = some_examples(1)
    network, engine = engine_of(clip_norm=1e-3)
    output = network(examples.x_t, examples.t, examples.cond)
    loss = (output - examples.target).square().mean()
    gradients = torch.autograd.grad(loss, list(network.parameters()))
    norm = torch.cat([gradient.flatten() for gradient in gradients]).norm()
    stats = engine.step([examples])
    torch.testing.assert_close(stats.loss, loss.detach())
    torch.testing.assert_close(stats.grad_norm, norm)


def test_average_after_some_steps_is_its_closed_form():
    network, engine = engine_of(ema_decay=0.26)
    seen = []
    for seed in range(4):
        engine.step([some_examples(seed)])
        seen.append(weights(network))
    second, third, fourth = 2 / 11, 3 / 12, 0.26  # the first step is copied; 4 / 13 is too much
    shares = [
        second * third * fourth,
        (1 - second) * third * fourth,
        (1 - third) * fourth,
        1 - fourth,
    ]
    expected = sum(share * value for share, value in zip(shares, seen, strict=True))
    torch.testing.assert_close(weights(engine.averaged), expected)
    assert engine.snapshot().num_averaged == 4


def test_snapshot_is_not_changed_by_the_next_step():
    _, engine = engine_of()
    engine.step([some_examples(0)])
    taken = engine.snapshot()
    kept = copy.deepcopy(taken)
    engine.step([some_examples(1)])
    parts = zip(
        (taken.network, taken.optimizer, *taken.averages),
        (kept.network, kept.optimizer, *kept.averages),
        strict=True,
    )
    for own, before in parts:
        assert all(torch.equal(own[key], before[key]) for key in before)


def test_averages_of_power_profiles_after_some_steps_are_their_closed_forms():
    network, engine = engine_of(ema_profile="power", ema_lengths=[0.2, 0.1])
    seen = []
    for seed in range(5):
        engine.step([some_examples(seed)])
        seen.append(weights(network))
    assert len(engine.snapshot().averages) == 2
    for length, average in zip((0.2, 0.1), engine.snapshot().averages, strict=True):
        power = exponent(length) + 1
        shares = [((step + 1) / 5) ** power - (step / 5) ** power for step in range(5)]
        expected = sum(share * value for share, value in zip(shares, seen, strict=True))
        found = torch.cat([average[name].flatten() for name, _ in network.named_parameters()])
        torch.testing.assert_close(found, expected)
    first = engine.snapshot().averages[0]
    assert all(torch.equal(first[key], part) for key, part in engine.averaged.state_dict().items())


@pytest.mark.parametrize(
    ("precision", "profile"), [("fp32", "exponential"), ("fp32", "power"), ("bf16", "power")]
)
def test_restore_in_a_fresh_engine_goes_on_to_the_bit(precision, profile):
    settings = {"warmup_steps": 5, "weight_decay": 0.1, "precision": precision}
    settings |= {"ema_profile": profile, "schedule": "cosine", "steps": 6}
    network, engine = engine_of(**settings)
    for seed in range(3):
        engine.step([some_examples(seed)])
    other, resumed = engine_of(**settings)
    resumed.restore(engine.snapshot())
    for seed in range(3, 6):
        engine.step([some_examples(seed)])
        resumed.step([some_examples(seed)])
    assert torch.equal(weights(network), weights(other))
    assert torch.equal(weights(engine.averaged), weights(resumed.averaged))
    one, two = engine.snapshot(), resumed.snapshot()
    assert one.optimizer.keys() == two.optimizer.keys()
    assert all(torch.equal(one.optimizer[key], two.optimizer[key]) for key in one.optimizer)
    for own, others in zip(one.averages, two.averages, strict=True):
        assert all(torch.equal(own[key], others[key]) for key in own)


def test_warm_up_grows_the_first_steps_in_proportion():
    moved = []
    for warmup_steps in (1, 4):
        network, engine = engine_of(warmup_steps=warmup_steps)
        before = weights(network)
        engine.step([some_examples(0)])
        moved.append(weights(network) - before)
    torch.testing.assert_close(moved[1], moved[0] / 4, rtol=1e-3, atol=1e-6)


def test_step_in_bf16_stays_near_fp32_and_keeps_fp32_weights():
    examples = some_examples(1)
    (_, full), (network, half) = engine_of(), engine_of(precision="bf16")
    loss, rounded = full.step([examples]).loss.item(), half.step([examples]).loss.item()
    assert rounded == pytest.approx(loss, rel=2e-2)
    assert rounded != loss
    assert {parameter.dtype for parameter in network.parameters()} == {torch.float32}


@pytest.mark.filterwarnings("ignore:.*script_method:DeprecationWarning")  # in torch's own modules
def test_compiled_network_steps_as_a_plain_one_and_keeps_the_names_of_its_weights():
    examples = some_examples(1)
    (one, plain), (other, compiled) = engine_of(), engine_of(compile=True)
    stats, others = plain.step([examples]), compiled.step([examples])
    torch.testing.assert_close(others.loss, stats.loss, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(others.grad_norm, stats.grad_norm, rtol=1e-5, atol=1e-5)
    assert (weights(one) - weights(other)).abs().median() < 1e-6  # as of micro-batches above
    assert other.state_dict().keys() == one.state_dict().keys()
    assert compiled.averaged.state_dict().keys() == one.state_dict().keys()


@pytest.mark.timeout(400)  # C++ is compiled
@pytest.mark.filterwarnings("ignore:.*script_method:DeprecationWarning")  # in torch's own modules
@pytest.mark.parametrize(("depth", "recipe"), [(2, {"align": 0.5}), (3, ROUTED)])
@pytest.mark.parametrize("changed", [{"precision": "bf16"}, {"compile": True}])
def test_step_of_a_recipe_in_bf16_or_compiled_is_that_in_fp32(make_run, depth, recipe, changed):
    run = make_run(expert={"depth": depth, "patch": 4}, training=recipe)
    task = expert_task(run.config, run.assignment().spec, run.partition)
    examples, found = task.examples(run.batch(task, task.training.batch_size), 1, Place()), []
    for training in (task.training, task.training.model_copy(update=changed)):
        network = stirred(task.build())
        found.append(TorchEngine(network, task.loss, training).step([examples]))
    plain, other = found
    near = {"rtol": 1e-5, "atol": 1e-5} if "compile" in changed else {"rtol": 5e-2, "atol": 0}
    torch.testing.assert_close(other.loss, plain.loss, **near)
    torch.testing.assert_close(other.grad_norm, plain.grad_norm, **near)
    assert ("compile" in changed) or other.loss != plain.loss
