"""The router: a small DiT that tells which cluster a noised image came from.

Source: McAllister et al., Decentralized Diffusion Models (arXiv 2501.05450); there it
does not see the condition.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from atoll.flops import Shape
from atoll.patches import refuse_patch
from atoll.sizes import Sizes
from experts.blocks import Block, fresh
from experts.condition import Conditioning
from experts.embeddings import PatchEmbed, TimestepEmbedder, condition_embedder, sincos_positions
from experts.places import positions_of


class RouterNet(nn.Module):
    """Patches and one learned token through DiT blocks; the token's features give K logits.

    It takes images of any sides that its patch divides, whatever its own shape.
    """

    pos_embed: Tensor

    def __init__(
        self, sizes: Sizes, conditioning: Conditioning, shape: Shape, num_experts: int
    ) -> None:
        super().__init__()
        channels, height, width = shape
        self.sizes, self.conditioning, self.shape = sizes, conditioning, shape
        self.num_experts = num_experts
        self.x_embedder = PatchEmbed(channels, sizes.patch, sizes.width)
        self.t_embedder = TimestepEmbedder(sizes.width)
        self.y_embedder = condition_embedder(conditioning, sizes.width)
        positions = sincos_positions(height // sizes.patch, width // sizes.patch, sizes.width)
        self.register_buffer("pos_embed", positions)
        self.cls_token = nn.Parameter(torch.zeros(1, sizes.width))
        self.blocks = nn.ModuleList(Block(sizes.width, sizes.heads) for _ in range(sizes.depth))
        self.norm = nn.LayerNorm(sizes.width)
        self.head = nn.Linear(sizes.width, num_experts)

    def forward(self, x_t: Tensor, t: Tensor, cond: Tensor | None) -> Tensor:
        """Logits of p(k | x_t, t, c).

        Args:
            x_t: noised images, (B, C, H, W), float.
            t: (B,).
            cond: as the experts take it; a router made without a condition looks away.

        Returns:
            (B, K) float.
        """
        positions = positions_of(x_t, self, sincos_positions, self.sizes.width)
        c = self.t_embedder(t)  # (B, D)
        if self.y_embedder is not None:
            c = c + self.y_embedder(cond)
        # Time and condition alone tell the prior, which is all there is to know at t = 1.
        cls = (self.cls_token + c).unsqueeze(1)
        x = torch.cat([cls, self.x_embedder(x_t) + positions], dim=1)  # (B, 1 + N, D)
        for block in self.blocks:
            x = block(x, c)
        logits: Tensor = self.head(self.norm(x[:, 0]))
        return logits


def build_router(
    sizes: Sizes, conditioning: Conditioning, shape: Shape, num_experts: int, seed: int
) -> RouterNet:
    """A fresh router.

    Args:
        sizes: how large.
        conditioning: what it sees besides image and time; of kind ``none`` for a prompt-blind one.
        shape: channels, height and width of the images.
        num_experts: K.
        seed: of the initial weights; the global generator is left as it was.

    Raises:
        ConfigError: the patch does not divide the image.
    """
    refuse_patch(sizes.patch, *shape[1:])
    return fresh(lambda: RouterNet(sizes, conditioning, shape, num_experts), seed)
