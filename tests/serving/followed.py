"""A run that is trained on while it is served, in this process."""

from __future__ import annotations

import functools
from dataclasses import asdict

from safetensors.torch import load_file, save_file

from atoll import checkpoints, layout, stages
from atoll.checkpoints import Compat
from atoll.types import CheckpointRef
from experts.files import EMA
from serving.service.follower import Follower
from serving.service.load import newest
from serving.service.order import Order
from tests.fakes import ManualClock
from tests.serving.built import Built, finished


class Followed:
    """A service, the run behind it, and who looks whether that has moved on."""

    def __init__(self, trained, clock=None, watch=None, **serving):
        self.trained, self.clock, self.told = trained, clock or ManualClock(), []
        built = Built(trained, self.clock, watch or self.told.append, **serving)
        self.first, self.service = built.first, built.service
        self.service.start()
        self.follower = Follower(
            self.service,
            lambda: newest(trained.store, built.config),
            functools.partial(built.load, holder=self.first.holder),
            1.0,
        )

    def train_on(self, change=lambda weights: weights, shape=None):
        """Publish expert-1 anew, as `atoll train` with more steps does; returns its key."""
        store = self.trained.store
        before = stages.find(store, "train")
        ref = CheckpointRef(**before["expert-1"])
        folder = checkpoints.download(store, ref, self.trained.folder / "cache")
        new = self.trained.folder / f"new-{ref.step}"
        new.mkdir()
        save_file(change(load_file(folder.files[EMA])), new / EMA)
        compat = Compat(**{**folder.compat, "shape": tuple(shape or folder.compat["shape"])})
        key = f"{layout.job_folder('expert-1')}/epoch-0002/step-{ref.step + 1:08d}"
        now = checkpoints.upload(
            store, key, new, step=ref.step + 1, epoch=2, compat=compat, about=folder.about
        )
        stages.finish(store, "train", {}, before | {"expert-1": asdict(now)})
        return key

    def states(self):
        return [(view.name, view.state) for view in self.service.editions()]

    def draw(self, **more):
        job = self.service.order(Order(seed=1, **more), "me")
        return job.recipes[0].checkpoints, finished(job)
