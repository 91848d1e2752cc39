"""What an MMDiT is told, as tokens beside those of the image and as one vector.

A row of any kind has at least one token, so that every weight of the text's streams is trained.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn

from experts.condition import Conditioning
from experts.embeddings import LabelEmbedder, TextEmbedder, mean_of_tokens


class Words(NamedTuple):
    """What is told of each image.

    Attributes:
        tokens: (B, T, D).
        pooled: all of it in one vector, (B, D).
    """

    tokens: Tensor
    pooled: Tensor


class CaptionWords(nn.Module):
    """Embeddings of captions, (B, text_dims), or of their tokens, (B, T, text_dims).

    Padding is embedded and attended to as any token, as SD3 and FLUX.1 do: where captions have one
    length, no layout has to tell who attends to what. The caption as a whole is without it.
    """

    def __init__(self, text_dims: int, width: int) -> None:
        super().__init__()
        self.tokens = TextEmbedder(text_dims, width)
        self.pooled = nn.Sequential(nn.Linear(text_dims, width), nn.SiLU(), nn.Linear(width, width))

    def forward(self, cond: Tensor, num: int) -> Words:
        """A token for each embedding; the mean of its own is the caption as a whole."""
        embeddings = cond.reshape(num, -1, cond.shape[-1])
        return Words(self.tokens(embeddings), self.pooled(mean_of_tokens(embeddings)))


class ClassWord(nn.Module):
    """Class numbers, (B,), as one token each, which is the vector as well."""

    def __init__(self, num_classes: int, width: int) -> None:
        super().__init__()
        self.labels = LabelEmbedder(num_classes, width)

    def forward(self, cond: Tensor, num: int) -> Words:  # noqa: ARG002 - as the others are called
        """Look the classes up."""
        embedded = self.labels(cond)
        return Words(embedded.unsqueeze(1), embedded)


class NoWords(nn.Module):
    """One learned token, the same for every image, and nothing in the vector."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.token = nn.Parameter(torch.zeros(1, width))

    def forward(self, cond: None, num: int) -> Words:  # noqa: ARG002 - as the others are called
        """The token for each of ``num`` images."""
        return Words(self.token.expand(num, 1, -1), torch.zeros_like(self.token))


def words_of(conditioning: Conditioning, width: int) -> nn.Module:
    """What embeds this kind of condition, called with it and the number of images."""
    if conditioning.kind == "text":
        return CaptionWords(conditioning.size, width)
    if conditioning.kind == "class":
        return ClassWord(conditioning.size, width)
    return NoWords(width)
