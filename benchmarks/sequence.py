"""Bytes that a process sends in a step where several share a video: DSP, Ulysses, tensor parallel.

``python benchmarks/sequence.py [--processes P]`` prints one JSON line. All three train the same
space-time DiT on the same batch. Ulysses is applied to every attention, over space as over time, as
the DSP paper has it, whose tokens are cut across frames and places at once; over space our tokens
would need no exchange. What is counted is what every process hands to collectives: of an
all-to-all the parts that are not its own, of a sum twice that (a ring's). The sum of gradients over
copies of the weights is the same in DSP and Ulysses and is left out; tensor parallel has none.

Source: Zhao et al., DSP (arXiv 2403.10266), table 2: at most 25% of the others' volume.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from pathlib import Path

import torch
from torch import Tensor, distributed, multiprocessing

from atoll.parallel_section import Layout
from atoll.sizes import Sizes
from atoll.training_section import TrainingSection
from experts.blocks import Attention
from experts.condition import Conditioning
from experts.flow import flow_loss
from experts.networks import build_network
from experts.parallel.mesh import Mesh
from experts.parallel.sequence import Ulysses
from experts.task import Examples
from experts.torch_engine import TorchEngine

WAYS = ("dsp", "ulysses", "tensor")
SIZES = Sizes(width=64, depth=4, heads=4, patch=2, frames=4)
SHAPE = (1, 32, 16)  # four frames of 8 x 16
ROWS = 4


class Counter:
    """What this process has sent so far."""

    def __init__(self) -> None:
        self.sent = 0.0
        names = ("all_to_all_single", "all_reduce")
        self._calls = {name: getattr(distributed, name) for name in names}

    def start(self) -> None:
        """Listen to the collectives that gradients flow through."""
        parts, sums = self._calls["all_to_all_single"], self._calls["all_reduce"]

        def exchange(
            received: Tensor,
            given: Tensor,
            received_sizes: list[int],
            sizes: list[int],
            group: distributed.ProcessGroup,
        ) -> None:
            own = sizes[group.rank()] * given.element_size()
            self.sent += given.nbytes - own
            parts(received, given, received_sizes, sizes, group=group)

        def add_up(total: Tensor, group: distributed.ProcessGroup) -> None:
            self.sent += 2 * total.nbytes * (1 - 1 / group.size())
            sums(total, group=group)

        distributed.all_to_all_single = exchange
        distributed.all_reduce = add_up

    def stop(self) -> None:
        """Leave everything as it was."""
        for name, call in self._calls.items():
            setattr(distributed, name, call)


def sent_in_a_step(way: str, rank: int, num: int) -> float:
    """Bytes of one process."""
    network = build_network(SIZES, Conditioning("none"), SHAPE, seed=0)
    counter = Counter()
    if way == "ulysses":
        group = Mesh(Layout(sequence=num), rank).group("sequence")
        for module in network.modules():
            if isinstance(module, Attention):
                module.attend = Ulysses(group)
        own = SHAPE[1] * SHAPE[2] // SIZES.patch**2 // num
        counter.start()
        out, _ = network.advance(
            torch.randn(ROWS, own, SIZES.width, requires_grad=True), torch.randn(ROWS, SIZES.width)
        )
        out.sum().backward()
    else:
        layout = Layout(tensor=num) if way == "tensor" else Layout(sequence=num)
        mesh = Mesh(layout, rank)
        engine = TorchEngine(network, flow_loss, TrainingSection(batch_size=ROWS), mesh)
        x = torch.randn(ROWS, *SHAPE)
        counter.start()
        engine.step([Examples(x, torch.rand(ROWS), None, x)])
    counter.stop()
    return counter.sent


def work(rank: int, num: int, folder: str) -> None:
    """One process."""
    torch.set_num_threads(1)
    meeting = f"file://{folder}/meeting"
    distributed.init_process_group("gloo", init_method=meeting, rank=rank, world_size=num)
    sent = {way: sent_in_a_step(way, rank, num) for way in WAYS}
    if rank == 0:
        Path(folder, "sent.json").write_text(json.dumps(sent))
    distributed.destroy_process_group()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--processes", type=int, default=2)
    num = parser.parse_args().processes
    with tempfile.TemporaryDirectory() as folder:
        multiprocessing.spawn(work, (num, folder), nprocs=num)
        sent = json.loads(Path(folder, "sent.json").read_text())
    ratios = {f"dsp_to_{way}": round(sent["dsp"] / sent[way], 3) for way in WAYS[1:]}
    print(json.dumps({"benchmark": "sequence", "processes": num, "bytes": sent, **ratios}))


if __name__ == "__main__":
    main()
