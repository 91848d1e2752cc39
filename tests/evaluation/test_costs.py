"""What a report says that training took."""

import torch

from atoll.config import Config
from atoll.sizes import Sizes
from evaluation.costs import training_costs
from experts.alignment import aligner_flops
from experts.condition import Conditioning
from experts.flops import TRAINING, expert_flops
from partition.manifest import KeptFeatures, Partition, ShardSet
from router.gate import uniform_gate
from router.load import LoadedEnsemble

SIZES, SHAPE, TOLD = Sizes(16, 3, 2, 4), (1, 8, 8), Conditioning("none")


def test_training_with_an_aligner_costs_what_that_takes_besides():
    features = KeptFeatures(5, ())
    clusters = (ShardSet(0, 3, (), ()), ShardSet(1, 1, (), ()))
    partition = Partition("p", 4, (8, 8, 1), (), False, (), "", "", clusters, features=features)
    cpu = torch.device("cpu")
    ensemble = LoadedEnsemble(
        experts=(lambda *_: torch.zeros(()),) * 2,
        sizes=SIZES,
        gate=uniform_gate(2, cpu),
        router=None,
        conditioning=TOLD,
        shape=SHAPE,
        decode=lambda x: x.numpy(),
        partition=partition,
        load_encoder=lambda: None,
        checkpoints={},
        device=cpu,
    )
    config = Config.model_validate({"training": {"align": 0.5, "batch_size": 10}})
    weights = {job: {"step": 7} for job in ("expert-0", "expert-1")}
    (experts,) = training_costs(config, ensemble, None, weights)
    forward = expert_flops(SIZES, TOLD, SHAPE) + aligner_flops(16, 5)
    assert experts.tflops * 1e12 == TRAINING * 7 * 10 * forward
