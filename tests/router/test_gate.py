"""Gates give probabilities; the prior gate gives the natural frequencies."""

import pytest
import torch

from partition.manifest import Partition, ShardSet
from router.gate import LearnedGate, prior_gate, uniform_gate

CPU = torch.device("cpu")
X, T = torch.zeros(3, 1, 2, 2), torch.ones(3)


def partition_with(*label_counts, sizes=None):
    sizes = sizes or [sum(counts) for counts in label_counts]
    return Partition(
        digest="",
        num_samples=sum(sizes),
        shape=(2, 2, 1),
        class_names=(),
        has_captions=False,
        skipped=None,
        centroids="",
        centroids_digest="",
        shard_sets=tuple(
            ShardSet(k, size, counts, ())
            for k, (size, counts) in enumerate(zip(sizes, label_counts, strict=True))
        ),
    )


def test_prior_gate_with_classes_gives_their_share_in_each_cluster():
    gate = prior_gate(partition_with((6, 1), (2, 3)), CPU)

    p = gate(X, T, torch.tensor([0, 1, 2]))

    torch.testing.assert_close(p, torch.tensor([[0.75, 0.25], [0.25, 0.75], [7 / 12, 5 / 12]]))


def test_prior_gate_for_a_class_without_samples_gives_the_sizes_of_clusters():
    gate = prior_gate(partition_with((3, 0), (1, 0)), CPU)

    torch.testing.assert_close(
        gate(X, T, torch.tensor([1, 1, 2])), torch.tensor([[0.75, 0.25]] * 3)
    )


@pytest.mark.parametrize("cond", [None, torch.randn(3, 8)], ids=["none", "text"])
def test_prior_gate_without_labels_gives_the_sizes_of_clusters(cond):
    gate = prior_gate(partition_with((), (), sizes=[1, 4]), CPU)

    torch.testing.assert_close(gate(X, T, cond), torch.tensor([[0.2, 0.8]] * 3))


def test_uniform_gate_for_any_condition_gives_every_expert_the_same():
    gate = uniform_gate(4, CPU)

    for cond in (None, torch.tensor([0, 5, 9])):
        assert torch.equal(gate(X, T, cond), torch.full((3, 4), 0.25))


def test_learned_gate_of_half_precision_logits_sums_to_one_in_single():
    gate = LearnedGate(lambda x_t, t, cond: torch.randn(3, 5, dtype=torch.bfloat16))

    p = gate(X, T, None)

    assert p.dtype == torch.float32
    torch.testing.assert_close(p.sum(1), torch.ones(3))
