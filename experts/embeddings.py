"""How images, times and conditions become the vectors a transformer works on.

Source: Peebles & Xie, Scalable Diffusion Models with Transformers (arXiv 2212.09748).
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from atoll.sizes import TIME_DIMS
from experts.condition import Conditioning
from experts.dialect import OURS, Dialect


class PatchEmbed(nn.Module):
    """Cuts an image into squares and projects each one: (B, C, H, W) to (B, N, D), row by row."""

    def __init__(self, channels: int, patch: int, width: int) -> None:
        super().__init__()
        self.proj = nn.Conv2d(channels, width, kernel_size=patch, stride=patch)

    def forward(self, x: Tensor) -> Tensor:
        """One token for each patch, (B, N, D)."""
        tokens = patchify(x, self.proj.kernel_size[0])
        # The convolution written as one matrix product: faster than its kernels at small sizes.
        return F.linear(tokens, self.proj.weight.flatten(1), self.proj.bias)


def patchify(x: Tensor, patch: int) -> Tensor:
    """Cut images into squares: (B, C, H, W) to (B, N, C * patch * patch), row by row."""
    num, channels, height, width = x.shape
    x = x.reshape(num, channels, height // patch, patch, width // patch, patch)
    return x.permute(0, 2, 4, 1, 3, 5).reshape(num, -1, channels * patch * patch)


def unpatchify(tokens: Tensor, shape: tuple[int, int, int], patch: int) -> Tensor:
    """Put squares together again.

    Args:
        tokens: (B, N, patch * patch * C), channels last inside a square as in DiT's final layer.
        shape: C, H, W of the images.
        patch: side of a square, in pixels.

    Returns:
        (B, C, H, W).
    """
    channels, height, width = shape
    x = tokens.reshape(-1, height // patch, width // patch, patch, patch, channels)
    return x.permute(0, 5, 1, 3, 2, 4).reshape(-1, channels, height, width)


def sincos_positions(rows: int, columns: int, width: int) -> Tensor:
    """Fixed positions of a grid of tokens, row by row.

    Args:
        rows: tokens down the image.
        columns: tokens across it.
        width: features of a token, a multiple of 4.

    Returns:
        (1, rows * columns, width) float32: sines and cosines of the column, then of the row.
    """
    row, column = grid_angles(rows, columns, width // 4)
    parts = [wave(angles) for angles in (column, row) for wave in (torch.sin, torch.cos)]
    return torch.cat(parts, dim=1).float().unsqueeze(0)


def sincos_line(num: int, width: int) -> Tensor:
    """Fixed positions along a line.

    Args:
        num: places on it.
        width: features of a token, even.

    Returns:
        (num, width) float32: sines and cosines, over all features, as no grid of tokens has them.
    """
    angles = _angles(torch.arange(num), width // 2)
    return torch.cat([torch.sin(angles), torch.cos(angles)], dim=1).float()


def grid_angles(rows: int, columns: int, num: int) -> tuple[Tensor, Tensor]:
    """The angles at which waves stand at the places of a grid, row by row.

    Args:
        rows: places down the grid.
        columns: places across it.
        num: waves.

    Returns:
        For a place's row and for its column, (rows * columns, num) float64 each.
    """
    row, column = torch.meshgrid(torch.arange(rows), torch.arange(columns), indexing="ij")
    return _angles(row, num), _angles(column, num)


def _angles(places: Tensor, num: int) -> Tensor:
    frequencies = 10_000.0 ** (-torch.arange(num, dtype=torch.float64) / num)
    return places.reshape(-1, 1) * frequencies


class TimestepEmbedder(nn.Module):
    """Times in [0, 1] as vectors, (B,) to (B, D)."""

    def __init__(self, width: int, dialect: Dialect = OURS) -> None:
        super().__init__()
        self.dialect = dialect
        self.mlp = nn.Sequential(nn.Linear(TIME_DIMS, width), nn.SiLU(), nn.Linear(width, width))

    def forward(self, t: Tensor) -> Tensor:
        """Embed times, (B, D)."""
        embedded: Tensor = self.mlp(timestep_waves(t, self.dialect))
        return embedded


def timestep_waves(t: Tensor, dialect: Dialect = OURS) -> Tensor:
    """Cosines and sines of a time at 128 frequencies, (B,) to (B, 256).

    DiT was made for steps 0 to 999, and our times lie in [0, 1], so they are scaled by 1000.
    """
    exponent = torch.arange(TIME_DIMS // 2, device=t.device, dtype=torch.float32)
    frequencies = torch.exp(-math.log(10_000.0) * exponent / dialect.divisor)
    angles = (dialect.offset + dialect.scale * t.float()).unsqueeze(1) * frequencies
    return torch.cat([torch.cos(angles), torch.sin(angles)], dim=1)


class LabelEmbedder(nn.Module):
    """Class numbers as vectors, (B,) to (B, D); the row after the last class means "no class"."""

    def __init__(self, num_classes: int, width: int) -> None:
        super().__init__()
        self.embedding_table = nn.Embedding(num_classes + 1, width)

    def forward(self, labels: Tensor) -> Tensor:
        """Look the classes up, (B, D)."""
        embedded: Tensor = self.embedding_table(labels)
        return embedded


class TextEmbedder(nn.Module):
    """Embeddings of text as vectors, (..., dims) to (..., D); zeros give the bias."""

    def __init__(self, text_dims: int, width: int) -> None:
        super().__init__()
        self.proj = nn.Linear(text_dims, width)

    def forward(self, embeddings: Tensor) -> Tensor:
        """Project the embeddings, (..., D)."""
        embedded: Tensor = self.proj(embeddings)
        return embedded


class CaptionEmbedder(TextEmbedder):
    """Captions as one vector each, (B, dims) or of their tokens (B, T, dims), to (B, D)."""

    def forward(self, embeddings: Tensor) -> Tensor:
        """Project the mean of each caption's own tokens, (B, D)."""
        return super().forward(mean_of_tokens(embeddings))


def mean_of_tokens(embeddings: Tensor) -> Tensor:
    """Captions as a whole, (B, dims), from their tokens, (B, T, dims), without padding.

    What is a whole already stays; a caption without tokens is zeros.
    """
    if embeddings.dim() == 2:
        return embeddings
    num = own_tokens(embeddings).sum(1, keepdim=True).clamp(min=1)
    return embeddings.sum(1) / num


def own_tokens(embeddings: Tensor) -> Tensor:
    """Which tokens, (B, T) bool, of (B, T, D) are a caption's own: padding is zeros."""
    return embeddings.any(2)


def condition_embedder(conditioning: Conditioning, width: int) -> nn.Module | None:
    """What embeds this kind of condition; None for networks without one."""
    if conditioning.kind == "class":
        return LabelEmbedder(conditioning.size, width)
    if conditioning.kind == "text":
        return CaptionEmbedder(conditioning.size, width)
    return None
