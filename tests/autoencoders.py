"""Autoencoders of diffusers, tiny and random, as save_pretrained writes them."""

from pathlib import Path

import torch


def write_vae(
    folder: Path, *, seed: int = 0, channels: int = 3, blocks: int = 1, **told: object
) -> str:
    """One that makes a place of 2 ** (blocks - 1) pixels, and 4 channels; returns its folder."""
    from diffusers import AutoencoderKL

    with torch.random.fork_rng():
        torch.manual_seed(seed)
        sizes = {"in_channels": channels, "out_channels": channels, "sample_size": 32, **told}
        model = AutoencoderKL(
            block_out_channels=(8,) * blocks,
            down_block_types=("DownEncoderBlock2D",) * blocks,
            up_block_types=("UpDecoderBlock2D",) * blocks,
            latent_channels=4,
            norm_num_groups=4,
            **sizes,
        )
    model.save_pretrained(folder)
    return str(folder)
