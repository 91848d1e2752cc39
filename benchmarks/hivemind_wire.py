"""The part of benchmarks/wires.py that is hivemind's: without gRPC's threads, which forks lose.

Prints one JSON line.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
from multiprocessing.connection import Connection

import hivemind
import torch
from hivemind.moe import ModuleBackend, Server
from hivemind.moe.client.expert import create_remote_experts
from hivemind.moe.server.dht_handler import get_experts
from hivemind.utils.tensor_descr import BatchTensorDescriptor
from rounds import given_of, timed
from served import SIZES, drawn_from
from torch import nn


def serve(size: str, told: Connection, done: Connection) -> None:
    """Hivemind's server of an expert, until the word comes."""
    drawn = drawn_from(size)
    network, image = drawn.experts[0], BatchTensorDescriptor(*drawn.shape)
    assert isinstance(network, nn.Module)
    backend = ModuleBackend(
        "expert.0",
        network,
        args_schema=(image, BatchTensorDescriptor(), BatchTensorDescriptor(dtype=torch.int64)),
        outputs_schema=image,
        max_batch_size=64,
    )
    dht = hivemind.DHT(start=True)
    server = Server(dht, {"expert.0": backend}, num_connection_handlers=1)
    server.run_in_background(timeout=60)
    told.send([str(each) for each in dht.get_visible_maddrs()])
    done.recv()
    server.shutdown()
    dht.shutdown()


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--size", choices=tuple(SIZES), required=True)
    parser.add_argument("--rows", type=int, required=True)
    parser.add_argument("--num", type=int, required=True)
    args = parser.parse_args()
    context = multiprocessing.get_context("spawn")
    (ours, theirs), (hears, says) = context.Pipe(duplex=False), context.Pipe(duplex=False)
    process = context.Process(target=serve, args=(args.size, theirs, hears))
    process.start()
    dht = hivemind.DHT(initial_peers=ours.recv(), start=True)
    infos = []
    while not infos or infos[0] is None:
        infos = get_experts(dht, ["expert.0"])
    (expert,) = create_remote_experts(infos, dht=dht)
    given = given_of(args.size, args.rows)
    with torch.inference_mode():
        found = timed(lambda: expert(*given), args.num)
    print(json.dumps(found), flush=True)
    says.send("done")
    process.join(10)
    dht.shutdown()


if __name__ == "__main__":
    main()
