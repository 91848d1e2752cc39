import numpy as np
import pytest
import torch
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from atoll.config_file import read_config
from atoll.errors import ConfigError
from atoll.flops import dit_flops
from atoll.routing import Routing
from atoll.sizes import Sizes
from experts.condition import Conditioning
from experts.devices import arithmetic
from experts.expert import expert_task
from experts.flow import seeded
from experts.networks import build_network
from experts.routing import draw_kept
from experts.task import Place
from partition.batch import Batch
from tests.experts.stirred import stirred
from tests.experts.test_loop import After, assert_same

SHAPE, TOLD = (1, 8, 8), Conditioning("class", 3)
SIZES = Sizes(width=16, depth=4, heads=2, patch=2)
LISTENING = Sizes(width=16, depth=4, heads=2, patch=2, cross_attention=True, modulation="single")
BY_WORD = Conditioning("text", 6, "encoder", 3)
HALF = Routing(0.5, 1, 1)
ROUTED = {"expert": {"depth": 4}, "training": {"route_tokens": 0.4, "route_after": 1}}


def network_of(sizes=SIZES, told=TOLD, routing=HALF):
    """Away from the start, where blocks do nothing."""
    return stirred(build_network(sizes, told, SHAPE, seed=0, routing=routing), 0.2)


def asked(told=TOLD, num=3):
    generator = torch.Generator().manual_seed(1)
    x_t, t = torch.randn(num, *SHAPE, generator=generator), torch.rand(num, generator=generator)
    cond = torch.arange(num) if told is TOLD else torch.randn(num, 3, 6, generator=generator)
    return x_t, t, cond


def kept_of(rate, num=3):
    return draw_kept(Routing(rate, 1, 1), num, 16, seeded(torch.device("cpu"), 0))


@pytest.mark.parametrize(("sizes", "told"), [(SIZES, TOLD), (LISTENING, BY_WORD)])
@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_route_that_nobody_takes_is_no_route_to_the_bit(sizes, told, precision):
    network, given = network_of(sizes, told), asked(told)
    everything = torch.arange(16).expand(3, -1)
    with arithmetic(precision, torch.device("cpu")):
        assert torch.equal(network(*given, everything), network(*given))
        assert network(*given, kept_of(0.5)).isfinite().all()


def test_route_around_blocks_that_do_nothing_is_no_route():
    network, given = network_of(), asked()
    with torch.no_grad():
        for block in network.blocks[1:3]:
            for parameter in block.adaLN_modulation.parameters():
                parameter.zero_()
    assert torch.equal(network(*given, kept_of(0.5)), network(*given))


def test_tokens_on_the_route_are_as_if_the_blocks_were_not_there_and_others_do_not_see_them():
    network, given, kept = network_of(), asked(), kept_of(0.5)
    x, c = network.embed(*given)
    before, _ = network.advance(x, c, blocks=network.blocks[:1])
    expected = before.clone()
    for row in range(3):
        image = slice(row, row + 1)
        some, _ = network.advance(before[image, kept[row]], c[image], blocks=network.blocks[1:3])
        expected[row, kept[row]] = some[0]
    expected = network.finish(*network.advance(expected, c, blocks=network.blocks[3:]))
    torch.testing.assert_close(network(*given, kept), expected)
    assert not torch.allclose(network(*given, kept), network(*given))


@pytest.mark.parametrize(("rate", "num"), [(0.5, 8), (0.1, 15), (0.99, 1)])
def test_kept_tokens_are_so_many_different_ones_of_each_image(rate, num):
    kept = kept_of(rate, 2000)
    assert kept.shape == (2000, num)
    assert (kept[:, 1:] > kept[:, :-1]).all()
    counts = torch.bincount(kept.flatten(), minlength=16).double()
    share = num / 16
    # Each of 16 is kept by a binomial of 2000; five standard deviations.
    assert ((counts - 2000 * share).abs() <= 5 * (2000 * share * (1 - share)) ** 0.5).all()


@pytest.mark.parametrize(("sizes", "told"), [(SIZES, TOLD), (LISTENING, BY_WORD)])
@pytest.mark.parametrize("rate", [0.5, 0.9])
def test_flops_of_a_routed_network_equal_what_torch_counts(sizes, told, rate):
    network, kept = network_of(sizes, told), kept_of(rate, 1)
    with FlopCounterMode(display=False) as counter, sdpa_kernel(SDPBackend.MATH):
        network(*asked(told, 1), kept)
    assert counter.get_total_flops() == dit_flops(sizes, told, SHAPE, Routing(rate, 1, 1))


def task_of(make_run):
    training = {**ROUTED["training"], "route_before": 1, "steps": 6, "checkpoint_every_steps": 3}
    run = make_run(expert={"depth": 4, "patch": 2}, training=training)
    return run, expert_task(run.config, run.assignment().spec, run.partition)


def batch_of(num, sides=(8, 8)):
    numbers = np.zeros(num, np.int64)
    images = np.random.default_rng(0).integers(0, 256, (num, *sides, 1), dtype=np.uint8)
    return Batch(images, numbers, numbers, None, numbers)


def test_tokens_of_several_processes_and_pieces_are_those_of_one(make_run):
    _, task = task_of(make_run)
    rows = task.training.batch_size
    whole = task.examples(batch_of(rows), 5, Place())
    parts = []
    for place in (Place(0, 2), Place(1, 2)):
        own = place.rows(rows)
        parts += task.examples(batch_of(own.stop - own.start), 5, place).split(2)
    assert whole.kept.shape == (rows, 10)  # of 16
    assert torch.equal(torch.cat([part.kept for part in parts]), whole.kept)
    assert not torch.equal(task.examples(batch_of(rows), 6, Place()).kept, whole.kept)


def test_tokens_of_images_of_another_shape_are_drawn_among_theirs(make_run):
    _, task = task_of(make_run)
    rows = task.training.batch_size
    batch = batch_of(rows, (4, 10))
    made = task.examples(batch, 5, Place())
    assert made.x_t.shape == made.target.shape == (rows, 1, 4, 10)
    assert made.kept.shape == (rows, 6)  # of 10
    assert made.kept.max() == 9


def test_training_with_a_route_interrupted_equals_uninterrupted_to_the_bit(make_run):
    run, _ = task_of(make_run)
    assert run.train(run.assignment(epoch=1))
    assert not run.train(run.assignment(epoch=2), After(4))
    left = run.published(2)[-1]
    assert run.train(run.assignment(epoch=3, checkpoint=left))
    assert_same(run, run.published(1)[-1], run.published(3)[-1])


@pytest.mark.parametrize(
    ("pairs", "names"),
    [
        (["island.processes=2", "island.parallel.sequence=2"], r"with island\.parallel\.sequence"),
        (["island.processes=2", "island.parallel.pipeline=2"], r"with island\.parallel\.pipeline"),
        (["expert.preset=MMDiT-T"], "is an MMDiT; set it to 0"),
        (["expert.frames=2"], "a network for videos"),
        (["training.align=0.5"], r"training\.align = 0\.5"),
        (["expert.depth=6"], "route_after = 2 and route_before = 4 leave no block"),
    ],
)
def test_route_that_cannot_be_taken_is_refused(pairs, names):
    given = ["training.route_tokens=0.5", "training.accumulation=2"]
    read_config(None, [*given, "expert.depth=8"])
    deep = [] if pairs[0].startswith("expert.preset") else ["expert.depth=8"]
    with pytest.raises(ConfigError, match=names):
        read_config(None, [*given, *deep, *pairs])
