"""Weights that a run's experts begin from, in place of random ones.

What depends on the data is left fresh where the data are others: positions follow the image's size,
and the condition's embedding is kept for the same condition alone.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from pathlib import Path

from torch import nn

from atoll.expert_file import refuse_other_network
from atoll.flops import Shape
from atoll.sizes import NetworkSizes
from experts.condition import Conditioning
from experts.dialect import Dialect
from experts.exchange.model import read_model

_POSITIONS, _CONDITION = "pos_embed", ("y_embedder.", "words.")

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Start:
    """A model to begin from.

    Attributes:
        path: its folder or file.
        conditioning: what it is told.
        dialect: how it computes what weights do not tell; a network begun from it does so, too.
    """

    path: Path
    conditioning: Conditioning
    dialect: Dialect

    def give(self, network: nn.Module, conditioning: Conditioning) -> None:
        """Give a fresh network the model's weights.

        Args:
            network: of the sizes that :func:`start_of` was asked for.
            conditioning: what the network is told.
        """
        same = conditioning.name == self.conditioning.name
        given = {
            name: part
            for name, part in read_model(self.path).weights.items()
            if name != _POSITIONS and (same or not name.startswith(_CONDITION))
        }
        network.load_state_dict({**network.state_dict(), **given})
        told = {"from": str(self.path), "fresh": "" if same else "the condition's embedding"}
        logger.info("begins with weights", extra={"fields": told})


def start_of(init: str, sizes: NetworkSizes, shape: Shape, objective: str, schedule: str) -> Start:
    """What ``expert.init`` names.

    Args:
        init: the key's value.
        sizes: of the experts.
        shape: channels, height and width of their images.
        objective: what is learned.
        schedule: of the noise, for epsilon and v.

    Raises:
        BadInput: there is no expert.
        ConfigError: it is of another network, or learned something else, or on another schedule of
            noise; says what differs.
    """
    about = refuse_other_network(init, sizes, shape[0], [objective], schedule)
    dialect = Dialect(**about.get("dialect", {}))
    return Start(Path(init), Conditioning(**about["conditioning"]), dialect)
