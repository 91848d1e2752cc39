"""Every way to sample, painted from the same noises and measured with one yardstick.

A row is kept in the run under the digest of its recipe: painted once, found ever after, whatever
other rows are asked for.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from atoll import layout
from atoll.blobs import BlobStore
from atoll.command import Progress
from atoll.config import Config
from atoll.digests import digest_of
from evaluation.grids import grid_png
from evaluation.painter import Prices, paint, wanted
from evaluation.results import MONOLITH, ORACLE, REAL, Row
from evaluation.yardstick import Yardstick
from router.sampling import Sampler

_SHOWN, _COLUMNS = 64, 8


@dataclass(frozen=True, slots=True)
class Contender:
    """One way to sample.

    Attributes:
        name: of its row.
        sampler: paints it.
        checkpoints: digest, step and decay of the averaged weights it uses, by job.
        prices: of its networks.
        knows_cluster: whether it is told the cluster each image is to come from.
    """

    name: str
    sampler: Sampler
    checkpoints: dict[str, Any]
    prices: Prices
    knows_cluster: bool = False


@dataclass(frozen=True, slots=True)
class Comparison:
    """What all rows have in common.

    Attributes:
        config: of the run.
        store: of the run.
        yardstick: measures them.
        progress: called as a row is painted.
    """

    config: Config
    store: BlobStore
    yardstick: Yardstick
    progress: Progress

    def real(self) -> Row:
        """One half of the real images against the other."""
        recipe = {"row": REAL, **self._measured_by()}
        return self._kept(recipe) or self._keep(
            Row(
                REAL,
                self.yardstick.floor(),
                None,
                self._grid(recipe, self.yardstick.real.images),
                recipe,
            )
        )

    def row(self, contender: Contender) -> Row:
        """Paint a contender's images and measure them, or find the row in the run."""
        recipe = self._recipe(contender)
        return self._kept(recipe) or self._keep(self._made(contender, recipe))

    def _made(self, contender: Contender, recipe: dict[str, Any]) -> Row:
        num = self.config.evaluation.num_samples
        real = self.yardstick.real
        images = wanted(real, self.config.run.seed, num)
        if not contender.knows_cluster:
            images = replace(images, experts=None)
        painted, cost = paint(
            contender.sampler,
            images,
            self.config.sampling,
            contender.prices,
            lambda done: self.progress(f"painting {contender.name}", done, num),
            name=contender.name,
        )
        clusters = real.clusters[np.arange(num) % len(real)]
        return Row(
            contender.name,
            self.yardstick.scores(painted),
            cost,
            self._grid(recipe, painted),
            recipe,
            self.yardstick.clusters(painted, clusters) if contender.knows_cluster else (),
        )

    def _recipe(self, contender: Contender) -> dict[str, Any]:
        settings = self.config.sampling.model_dump(include={"solver", "steps", "guidance"})
        alone = contender.name in {MONOLITH, ORACLE}
        return {
            "row": contender.name,
            "gate": None if alone else self.config.sampling.gate,
            "checkpoints": contender.checkpoints,
            "weights": "ema",
            **settings,
            "seed": self.config.run.seed,
            "num_samples": self.config.evaluation.num_samples,
            **self._measured_by(),
        }

    def _measured_by(self) -> dict[str, Any]:
        extractor, real = self.yardstick.extractor, self.yardstick.real
        return {
            "extractor": {"name": extractor.name, "digest": extractor.digest},
            "reference": {"num_samples": len(real), "digest": real.digest},
        }

    def _kept(self, recipe: dict[str, Any]) -> Row | None:
        key = layout.evaluation_row(digest_of(recipe))
        if not self.store.exists(key):
            return None
        row = Row.from_json(json.loads(self.store.get_bytes(key)))
        return row if self.store.exists(row.grid) else None

    def _keep(self, row: Row) -> Row:
        text = json.dumps(asdict(row), indent=1)
        self.store.publish(layout.evaluation_row(digest_of(row.recipe)), text.encode())
        return row

    def _grid(self, recipe: dict[str, Any], images: NDArray[np.uint8]) -> str:
        png = grid_png(images[:_SHOWN], _COLUMNS)
        return self.store.publish(layout.evaluation_picture(digest_of(recipe)[:16]), png).key
