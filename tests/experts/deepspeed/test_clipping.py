"""Why a pipeline's gradients are not clipped by DeepSpeed's ZeRO-0: it counts one process's."""

import contextlib
import math

import torch
from torch import nn

ROWS, LARGEST = 4, 0.1


def layers():
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return [nn.Linear(3, 3), nn.Linear(3, 3)]


def gradients():
    """Of the two layers, as torch has them."""
    network = nn.Sequential(*layers())
    torch.autograd.backward(network(torch.ones(ROWS, 3)).square().mean())
    return [torch.cat([each.grad.flatten() for each in layer.parameters()]) for layer in network]


def moved(stage):
    """How far a step of SGD at rate 1 moves this process's layer, under DeepSpeed's clipping."""
    from experts.deepspeed.starting import started

    deepspeed = started(torch.device("cpu"))
    with contextlib.redirect_stdout(None):
        pipeline = deepspeed.PipelineModule(
            layers(), num_stages=2, loss_fn=lambda output, _: output.square().mean()
        )
    before = [each.detach().clone() for each in pipeline.parameters()]
    engine, *_ = deepspeed.initialize(
        model=pipeline,
        optimizer=torch.optim.SGD(pipeline.parameters(), lr=1.0),
        config={
            "train_micro_batch_size_per_gpu": ROWS,
            "gradient_clipping": LARGEST,
            "zero_optimization": {"stage": stage, "reduce_bucket_size": 1000},
            "zero_allow_untested_optimizer": True,
            "steps_per_print": None,
        },
    )
    engine.train_batch(iter([(torch.ones(ROWS, 3), torch.zeros(()))]))
    after = [each.detach() for each in pipeline.parameters()]
    return math.sqrt(sum(float((b - a).square().sum()) for b, a in zip(before, after, strict=True)))


def test_clipping_of_a_pipeline_counts_all_gradients_under_zero_1_and_the_first_stages_under_zero_0(
    groups,
):
    first, second = (float(each.norm()) for each in gradients())
    both = math.hypot(first, second)
    assert min(first, second) > LARGEST
    for stage, counted in ((1, both), (0, first)):
        steps = groups[2].call(moved, stage)
        expected = torch.tensor([first, second]) * LARGEST / counted
        torch.testing.assert_close(torch.tensor(steps), expected, rtol=1e-4, atol=0)
