"""What a person sees of a training."""

import torch

from atoll.errors import BlobMissing
from atoll.types import Assignment, JobSpec, Lease, Role
from experts.watching.board import Board
from experts.watching.canvas import open_canvas


def test_grid_that_cannot_be_decoded_is_missing_and_said_to_be(caplog):
    def failing(images):
        raise BlobMissing("models/1234 is missing")

    spec = JobSpec("expert-0", Role.EXPERT, 0, "run", 10, "d")
    images = torch.zeros(4, 1, 8, 8)
    with open_canvas("none", Assignment(Lease("expert-0", "i", 1, 9.0), spec, None), 0) as canvas:
        assert Board(canvas, failing).show(images, 5) is None
        assert Board(canvas).show(images, 5).startswith(b"\x89PNG")
    assert "models/1234 is missing" in caplog.text
