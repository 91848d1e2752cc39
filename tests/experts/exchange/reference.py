"""A DiT by the formulas of its paper, on weights under facebook's names, in float64.

Source: Peebles & Xie (arXiv 2212.09748), section 3.2 and appendix A.
"""

import math

import torch

PATCH, SIDE, CHANNELS, WIDTH, DEPTH, HEADS, CLASSES = 2, 8, 4, 16, 2, 2, 3


def random_weights(outputs=2 * CHANNELS):
    """A state dict as facebook's network has it, with a learned sigma; nothing in it is zero."""
    generator = torch.Generator().manual_seed(0)

    def layer(name, *shape):
        weight = torch.randn(*shape, generator=generator) / math.sqrt(shape[-1])
        return {
            f"{name}.weight": weight,
            f"{name}.bias": torch.randn(shape[0], generator=generator),
        }

    found = {
        "pos_embed": positions(),
        **layer("x_embedder.proj", WIDTH, CHANNELS, PATCH, PATCH),
        **layer("t_embedder.mlp.0", WIDTH, 256),
        **layer("t_embedder.mlp.2", WIDTH, WIDTH),
        "y_embedder.embedding_table.weight": torch.randn(CLASSES + 1, WIDTH, generator=generator),
        **layer("final_layer.linear", PATCH**2 * outputs, WIDTH),
        **layer("final_layer.adaLN_modulation.1", 2 * WIDTH, WIDTH),
    }
    for block in range(DEPTH):
        found |= layer(f"blocks.{block}.attn.qkv", 3 * WIDTH, WIDTH)
        found |= layer(f"blocks.{block}.attn.proj", WIDTH, WIDTH)
        found |= layer(f"blocks.{block}.mlp.fc1", 4 * WIDTH, WIDTH)
        found |= layer(f"blocks.{block}.mlp.fc2", WIDTH, 4 * WIDTH)
        found |= layer(f"blocks.{block}.adaLN_modulation.1", 6 * WIDTH, WIDTH)
    return found


def positions():
    cells = SIDE // PATCH
    waves = 10_000.0 ** -(torch.arange(WIDTH // 4) / (WIDTH // 4))
    rows, columns = torch.meshgrid(torch.arange(cells), torch.arange(cells), indexing="ij")
    across, down = (place.reshape(-1, 1) * waves for place in (columns, rows))
    return torch.cat([across.sin(), across.cos(), down.sin(), down.cos()], dim=1)[None]


def answer(weights, x, times, labels, *, divisor=128, mlp_eps=1e-6):
    """What the network gives, (B, outputs, SIDE, SIDE); ``times`` as they enter its embedding."""
    of = {name: part.double() for name, part in weights.items()}
    x, times = x.double(), times.double()

    def linear(name, it):
        return it @ of[f"{name}.weight"].T + of[f"{name}.bias"]

    def silu(it):
        return it / (1 + (-it).exp())

    def normed(it, eps):
        centred = it - it.mean(-1, keepdim=True)
        return centred / (centred.square().mean(-1, keepdim=True) + eps).sqrt()

    frequencies = 10_000.0 ** -(torch.arange(128, dtype=torch.float64) / divisor)
    angles = times[:, None] * frequencies
    waves = torch.cat([angles.cos(), angles.sin()], dim=1)
    c = linear("t_embedder.mlp.2", silu(linear("t_embedder.mlp.0", waves)))
    c = silu(c + of["y_embedder.embedding_table.weight"][labels])

    num, cells = len(x), SIDE // PATCH
    squares = x.reshape(num, CHANNELS, cells, PATCH, cells, PATCH).permute(0, 2, 4, 1, 3, 5)
    kernel = of["x_embedder.proj.weight"].reshape(WIDTH, -1)
    tokens = squares.reshape(num, cells**2, -1) @ kernel.T + of["x_embedder.proj.bias"]
    tokens = tokens + of["pos_embed"]
    for block in range(DEPTH):
        here = f"blocks.{block}"
        six = linear(f"{here}.adaLN_modulation.1", c)[:, None].chunk(6, dim=2)
        shift, scale, gate, mlp_shift, mlp_scale, mlp_gate = six
        qkv = linear(f"{here}.attn.qkv", normed(tokens, 1e-6) * (1 + scale) + shift)
        qkv = qkv.reshape(num, cells**2, 3, HEADS, -1)
        query, key, value = (qkv[:, :, part].transpose(1, 2) for part in range(3))
        weighed = (query @ key.transpose(2, 3) / math.sqrt(WIDTH / HEADS)).softmax(-1) @ value
        mixed = linear(f"{here}.attn.proj", weighed.transpose(1, 2).reshape(tokens.shape))
        tokens = tokens + gate * mixed
        inner = linear(f"{here}.mlp.fc1", normed(tokens, mlp_eps) * (1 + mlp_scale) + mlp_shift)
        bent = inner / 2 * (1 + (math.sqrt(2 / math.pi) * (inner + 0.044715 * inner**3)).tanh())
        tokens = tokens + mlp_gate * linear(f"{here}.mlp.fc2", bent)
    shift, scale = linear("final_layer.adaLN_modulation.1", c)[:, None].chunk(2, dim=2)
    out = linear("final_layer.linear", normed(tokens, 1e-6) * (1 + scale) + shift)
    out = out.reshape(num, cells, cells, PATCH, PATCH, -1).permute(0, 5, 1, 3, 2, 4)
    return out.reshape(num, -1, SIDE, SIDE)


def examples():
    """Points, times in (0, 1) and labels, among them the one that means no class."""
    generator = torch.Generator().manual_seed(1)
    x = torch.randn(4, CHANNELS, SIDE, SIDE, generator=generator)
    return x, torch.tensor([0.93, 0.61, 0.3, 0.05]), torch.tensor([0, 1, 2, CLASSES])
