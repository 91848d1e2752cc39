"""What is played on some processes, and on one: the same steps of the same network."""

from __future__ import annotations

import copy
import itertools
from dataclasses import replace

import torch

from atoll.parallel_section import ParallelSection
from atoll.routing import Routing
from atoll.sizes import MMDiTSizes, Sizes
from atoll.training_section import TrainingSection
from experts.alignment import alignment_loss, parted
from experts.condition import Conditioning
from experts.engines import engine_of
from experts.flow import flow_loss
from experts.networks import build_network
from experts.parallel.mesh import Mesh
from experts.perturbation import Perturbation
from experts.task import Examples, Place
from experts.weighing import weighted_loss, with_weights
from tests.experts.stirred import stirred

SHAPE = (1, 8, 8)
SIZES = Sizes(width=32, depth=2, heads=4, patch=2)
DEEP = replace(SIZES, depth=4)  # for as many stages
LISTENING = replace(SIZES, cross_attention=True, modulation="single")
VIDEO = replace(SIZES, frames=4)  # of 2 x 8 pixels
VIDEO_LISTENING = replace(LISTENING, frames=4)
JOINT = MMDiTSizes(width=32, double=1, single=1, heads=4, patch=2)
ROWS = 8
ROUTING = Routing(0.5, 1, 1)
FEATURES = 5
MESHES: dict[tuple[object, ...], Mesh] = {}


BY_CLASS, BY_TEXT = Conditioning("class", 3), Conditioning("text", 6, "encoder")


def engine(
    parallel: str = "",
    num: int = 1,
    rank: int = 0,
    *,
    sizes=SIZES,
    told=BY_CLASS,
    aligned=None,
    routing=None,
    loss=flow_loss,
    **settings,
):
    """An engine of a small network on so many processes; and the mesh of them."""
    section = ParallelSection.model_validate(
        dict(pair.split("=") for pair in parallel.split(",") if pair)
    )
    network = stirred(
        build_network(sizes, told, SHAPE, seed=0, aligned=aligned, routing=routing), 0.05
    )
    layout = section.over(num)
    if (layout, rank) not in MESHES:  # gloo's threads go on as long as a group does
        MESHES[layout, rank] = Mesh(layout, rank)
    mesh = MESHES[layout, rank]
    training = TrainingSection(
        **{"batch_size": ROWS, "learning_rate": 1e-3, "clip_norm": 0.5, "warmup_steps": 5}
        | {"schedule": "linear", "steps": 20, "weight_decay": 0.01}
        | {"ema_profile": "power", "ema_lengths": (0.2, 0.1), **settings}
    )
    return engine_of(network, loss, training, mesh, section), mesh


def examples(step: int, place: Place, told=BY_CLASS) -> Examples:
    """A process's part of the batch of a step; of texts, of none to three words each."""
    generator = torch.Generator().manual_seed(step)
    x_t, target = (torch.randn(ROWS, *SHAPE, generator=generator) for _ in range(2))
    t = torch.rand(ROWS, generator=generator)
    if told.kind == "text":
        cond = torch.randn(ROWS, 3, told.size, generator=generator)
        cond[torch.arange(3) >= torch.arange(ROWS).unsqueeze(1) % 4] = 0
    else:
        cond = torch.randint(0, 4, (ROWS,), generator=generator)
    rows = place.rows(ROWS)
    return Examples(x_t[rows], t[rows], cond[rows], target[rows])


def play(
    parallel: str,
    num: int,
    begin: object = None,
    steps: int = 20,
    *,
    change=lambda each: each,
    **settings,
):
    """Some steps, from the beginning or a snapshot, of examples that are changed.

    Returns:
        The losses and gradient norms, and the snapshot after the last step.
    """
    rank = torch.distributed.get_rank() if num > 1 else 0
    made, mesh = engine(parallel, num, rank, **settings)
    done = 0
    if begin is not None:
        made.restore(begin)
        done = int(begin.num_averaged)
    told = []
    for step in range(done, done + steps):
        some = change(examples(step, mesh.rows, settings.get("told", BY_CLASS)))
        pieces = some.split(settings.get("accumulation", 1))
        stats = made.step(pieces)
        told.append((float(stats.loss), float(stats.grad_norm)))
    assert made.all_finite()
    return told, copy.deepcopy(made.snapshot()) if rank == 0 else made.snapshot() and None


def play_in_pieces(parallel: str, num: int):
    """The same with each batch in two micro-batches."""
    return play(parallel, num, accumulation=2)


def play_jointly(parallel: str, num: int, told=BY_CLASS):
    """The same with an MMDiT, each batch in two micro-batches."""
    return play(parallel, num, sizes=JOINT, told=told, accumulation=2)


def play_aligned(parallel: str, num: int, sizes=SIZES):
    """The same of a network that is aligned with features, after its first block."""
    return play(parallel, num, sizes=sizes, aligned=(FEATURES, 1), loss=_aligned_loss)


def _aligned_loss(output, target):
    """Of the flow, and of features that follow from the target."""
    velocity, said = parted(output, SHAPE)
    features = target.flatten(1)[:, :FEATURES]
    return flow_loss(velocity, target) + 0.5 * alignment_loss(said, features)


def play_weighed(parallel: str, num: int):
    """The same of rows that bring weights, and noise for their classes."""
    return play(
        parallel, num, sizes=DEEP, loss=weighted_loss, change=_weighed_and_noisy, accumulation=2
    )


def _weighed_and_noisy(plain: Examples) -> Examples:
    noise = plain.x_t.flatten(1)[:, : DEEP.width]
    cond = Perturbation(1.0, BY_CLASS, DEEP.width).add(plain.cond, noise)
    return replace(plain, cond=cond, target=with_weights(plain.target, plain.t))


def play_routed(parallel: str, num: int):
    """The same of a network that half the tokens pass by the middle of."""
    return play(parallel, num, sizes=DEEP, routing=ROUTING, change=_routed, accumulation=2)


def _routed(plain: Examples) -> Examples:
    kept = plain.x_t.flatten(1)[:, :16].argsort(1)[:, : ROUTING.num_kept(16)]
    return replace(plain, kept=kept)


def play_sizes(parallel: str, num: int, sizes=SIZES):
    """The same of images that have other sides in every step."""
    shapes = itertools.cycle([SHAPE, (1, 4, 16), (1, 16, 4)])

    def change(plain: Examples) -> Examples:
        shape = next(shapes)
        x_t, target = (each.reshape(-1, *shape) for each in (plain.x_t, plain.target))
        return replace(plain, x_t=x_t, target=target)

    return play(parallel, num, sizes=sizes, change=change, accumulation=2)


def play_listening(parallel: str, num: int, sizes=LISTENING):
    """The same with a DiT whose blocks look at a text and share one modulation."""
    return play(parallel, num, sizes=sizes, told=BY_TEXT, accumulation=2)


def play_video(parallel: str, num: int, accumulation: int = 1):
    """The same of a network for videos."""
    return play(parallel, num, sizes=VIDEO, accumulation=accumulation)


def play_pipeline(parallel: str, num: int, begin: object = None, steps: int = 20):
    """The same of a deeper network, with each batch in four micro-batches."""
    return play(parallel, num, begin, steps, sizes=DEEP, accumulation=4)


def leave(parallel: str, num: int) -> int:
    """How many numbers a snapshot leaves with this process."""
    made, mesh = engine(parallel, num, torch.distributed.get_rank(), sizes=DEEP, accumulation=4)
    made.step(examples(0, mesh.rows).split(4))
    snapshot = made.snapshot()
    every = (snapshot.network, snapshot.optimizer, *snapshot.averages)
    return sum(each.numel() for tensors in every for each in tensors.values())


def draw(parallel: str, num: int, precision: str = "fp32"):
    """What the averaged network of a deeper one answers on the first process."""
    rank = torch.distributed.get_rank() if num > 1 else 0
    made, _ = engine(parallel, num, rank, sizes=DEEP, precision=precision)
    some = examples(0, Place())
    with torch.no_grad():
        return made.with_average(lambda network: network(some.x_t, some.t, some.cond))
