"""Draws requests one after the other as a pipeline of diffusers does; prints seconds of each.

    python diffusers_loop.py FOLDER

The folder holds what benchmarks/diffusers_peer.py lays there. Its own DiTPipeline wants a VAE, and
breaks with guidance where there are not 1000 classes, so its loop is written out here.
"""

import json
import sys
import time
from pathlib import Path

import torch
from diffusers import DiTTransformer2DModel, FlowMatchEulerDiscreteScheduler
from safetensors.torch import load_file


def built(about, weights):
    channels, side, _ = about["shape"]
    network = DiTTransformer2DModel(
        num_attention_heads=about["heads"],
        attention_head_dim=about["width"] // about["heads"],
        in_channels=channels,
        out_channels=channels,
        num_layers=about["depth"],
        sample_size=side,
        patch_size=about["patch"],
        num_embeds_ada_norm=about["classes"],
        norm_type="ada_norm_zero",
        norm_eps=1e-6,
    )
    network.load_state_dict(renamed(weights, about["depth"]))
    for block in network.transformer_blocks:
        block.norm1.emb.time_proj.downscale_freq_shift = 0  # as facebookresearch/DiT has it
        block.norm1.norm.eps = 1e-6
    return network.eval()


def renamed(weights, depth):
    given = {"pos_embed.proj": "x_embedder.proj"}
    given |= {"proj_out_1": "final_layer.adaLN_modulation.1", "proj_out_2": "final_layer.linear"}
    for block in range(depth):
        here, there = f"transformer_blocks.{block}", f"blocks.{block}"
        given[f"{here}.norm1.emb.timestep_embedder.linear_1"] = "t_embedder.mlp.0"
        given[f"{here}.norm1.emb.timestep_embedder.linear_2"] = "t_embedder.mlp.2"
        given[f"{here}.norm1.linear"] = f"{there}.adaLN_modulation.1"
        given[f"{here}.attn1.to_out.0"] = f"{there}.attn.proj"
        given[f"{here}.ff.net.0.proj"] = f"{there}.mlp.fc1"
        given[f"{here}.ff.net.2"] = f"{there}.mlp.fc2"
    found = {f"{a}.{kind}": weights[f"{b}.{kind}"] for a, b in given.items() for kind in KINDS}
    for block in range(depth):
        here = f"transformer_blocks.{block}"
        table = f"{here}.norm1.emb.class_embedder.embedding_table.weight"
        found[table] = weights["y_embedder.embedding_table.weight"]
        for kind in KINDS:
            parts = weights[f"blocks.{block}.attn.qkv.{kind}"].chunk(3)
            for name, part in zip("qkv", parts, strict=True):
                found[f"{here}.attn1.to_{name}.{kind}"] = part
    return found


KINDS = ("weight", "bias")


def draw(network, scheduler, about, request):
    steps, guidance = request["steps"], request["guidance"]
    generator = torch.Generator().manual_seed(request["seed"])
    x = torch.randn(1, *about["shape"], generator=generator)
    classes = [request["class"]] if guidance == 1 else [request["class"], about["classes"]]
    labels = torch.tensor(classes)
    scheduler.set_timesteps(sigmas=[1 - step / steps for step in range(steps)])
    for t in scheduler.timesteps:
        both = x.expand(len(labels), -1, -1, -1)
        velocity = network(both, timestep=t.expand(len(labels)), class_labels=labels).sample
        if guidance != 1:
            velocity = (1 - guidance) * velocity[1:] + guidance * velocity[:1]
        x = scheduler.step(velocity, t, x).prev_sample
    return x


@torch.inference_mode()
def main():
    folder = Path(sys.argv[1])
    torch.set_num_threads(1)
    about = json.loads((folder / "about.json").read_text())
    network = built(about, load_file(folder / "weights.safetensors"))
    it = load_file(folder / "example.safetensors")
    said = network(it["x"], timestep=1000 * it["t"], class_labels=it["cond"]).sample
    torch.testing.assert_close(said, it["velocity"], rtol=1e-3, atol=1e-3)
    scheduler, seconds = FlowMatchEulerDiscreteScheduler(), []
    draw(network, scheduler, about, about["requests"][0])
    for request in about["requests"]:
        begun_at = time.thread_time()
        draw(network, scheduler, about, request)
        seconds.append(time.thread_time() - begun_at)
    print(json.dumps(seconds))


main()
