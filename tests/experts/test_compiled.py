"""A compiled network has a graph for each shape, which others have no part in."""

import functools
import subprocess
import sys

import pytest
import torch
from torch import nn

from atoll.sizes import MMDiTSizes, Sizes
from experts.compiled import compile_in_place
from experts.condition import Conditioning
from experts.networks import build_network
from tests.experts.stirred import stirred

DIT, OWN = Sizes(16, 1, 2, 2), (2, 8, 8)
SHAPES = [OWN, *((2, 4, 4 * columns) for columns in range(1, 10))]  # more than torch keeps unasked
pytestmark = [
    pytest.mark.filterwarnings("ignore:.*script_method:DeprecationWarning"),  # in torch itself
    pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor"),  # likewise
]


def network_of(sizes):
    return stirred(build_network(sizes, Conditioning("class", 3), OWN, seed=0), 0.2, seed=1)


def asked(shape):
    generator = torch.Generator().manual_seed(2)
    return (
        torch.randn(3, *shape, generator=generator),
        torch.tensor([0.1, 0.5, 0.9]),
        torch.arange(3),
    )


def graphs_of(network, shapes, monkeypatch):
    """Code of the graphs that are compiled when each shape comes."""
    told = []

    def told_to(graph, _):
        told.append(graph.code)
        return graph.forward

    torch.compiler.reset()
    with monkeypatch.context() as patch:
        compiled = functools.partialmethod(nn.Module.compile, backend=told_to)
        patch.setattr(nn.Module, "compile", compiled)
        compile_in_place(network)
    made = {}
    for shape in shapes:
        network(*asked(shape))
        made[shape], told[:] = tuple(told), []
    return made


@pytest.mark.parametrize(
    ("sizes", "shapes"),
    [(DIT, SHAPES), (MMDiTSizes(width=16, double=1, single=1, heads=2, patch=2), SHAPES[:3])],
)
def test_compiled_network_has_one_graph_for_each_shape_whichever_came_first(
    sizes, shapes, monkeypatch
):
    made = graphs_of(network_of(sizes), shapes, monkeypatch)
    assert [len(graphs) for graphs in made.values()] == [1] * len(shapes)
    assert len(set(made.values())) == len(shapes)
    some = shapes[2::-1]
    again = graphs_of(network_of(sizes), some, monkeypatch)
    assert again == {shape: made[shape] for shape in some}


def test_compiled_network_answers_and_learns_on_each_shape_as_a_plain_one(monkeypatch):
    plain, network = (network_of(DIT) for _ in range(2))
    shapes = SHAPES[:3]
    graphs_of(network, shapes, monkeypatch)
    for shape in shapes:
        answers = [each(*asked(shape)) for each in (plain, network)]
        torch.testing.assert_close(answers[1], answers[0])
        for answer in answers:
            answer.square().sum().backward()
    for one, other in zip(plain.parameters(), network.parameters(), strict=True):
        torch.testing.assert_close(other.grad, one.grad)


def test_process_that_compiles_nothing_does_not_import_the_compiler():
    program = (
        "import sys, router.load, experts.torch_engine\nassert 'torch._dynamo' not in sys.modules\n"
    )
    subprocess.run([sys.executable, "-c", program], check=True)
