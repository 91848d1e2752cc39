"""How the tokens of an image look at those of its caption.

Source: Chen et al., PixArt-alpha (arXiv 2310.00426), section 2.3.
"""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional as F

from experts.embeddings import own_tokens


class CaptionTokens(nn.Module):
    """A caption's tokens at the network's width; padding stays zeros."""

    def __init__(self, text_dims: int, width: int) -> None:
        super().__init__()
        self.fc1 = nn.Linear(text_dims, width)
        self.fc2 = nn.Linear(width, width)

    def forward(self, embeddings: Tensor) -> Tensor:
        """Transform each token, (B, T, dims) to (B, T, D); a whole caption, (B, dims), is one."""
        embeddings = embeddings.unsqueeze(1) if embeddings.dim() == 2 else embeddings
        tokens: Tensor = self.fc2(F.gelu(self.fc1(embeddings), approximate="tanh"))
        return tokens * own_tokens(embeddings).unsqueeze(2)


def heard_tokens(words: Tensor) -> Tensor:
    """Which tokens of captions, (B, T, D), images hear: (B, T) bool, the same in all blocks.

    Zeros are padding that nobody hears; where all are, there is no caption, and all are heard
    alike.
    """
    own = own_tokens(words)
    return own | ~own.any(1, keepdim=True)


class CrossAttention(nn.Module):
    """Multi-head attention from an image's tokens to its caption's own.

    Its last layer begins at zero, so that the network begins as one without it.

    Attributes:
        heads: in this process.
    """

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads, self._head_width = heads, width // heads
        self.q_linear = nn.Linear(width, width)
        self.kv_linear = nn.Linear(width, 2 * width)
        self.proj = nn.Linear(width, width)

    def forward(self, x: Tensor, words: Tensor, heard: Tensor) -> Tensor:
        """What each token hears.

        Args:
            x: tokens of images, (B, ..., D), in groups or not.
            words: tokens of captions, (B, T, D).
            heard: which of them count, see :func:`heard_tokens`.

        Returns:
            Of the shape of x.
        """
        query = self._split(self.q_linear(x.flatten(1, -2)))
        key, value = map(self._split, self.kv_linear(words).chunk(2, dim=2))
        mixed = F.scaled_dot_product_attention(query, key, value, heard[:, None, None])
        out: Tensor = self.proj(mixed.transpose(1, 2).flatten(2))
        return out.reshape(x.shape)

    def _split(self, features: Tensor) -> Tensor:
        """(B, N, D) to (B, heads, N, D / heads)."""
        num, tokens, _ = features.shape
        return features.reshape(num, tokens, self.heads, self._head_width).transpose(1, 2)
