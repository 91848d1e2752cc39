"""A lab of certificates, and a server of one expert that is called by it."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch

from atoll.__main__ import main
from atoll.expert_server_section import ExpertServerSection
from atoll.revocations import Revocations
from serving.expert.admission import Admission
from serving.expert.conditions import Conditions
from serving.expert.evaluator import Evaluator
from serving.expert.served import ServedExpert
from serving.expert.server import ExpertServer
from serving.expert.servicer import ExpertsServicer
from serving.remote.rows import RowsAsked
from tests.serving.conftest import CLASSES, CPU, SHAPE
from tests.serving.remote.conftest import CLOCK


def make_lab(folder: Path, *more: str) -> Path:
    """Certificates of a server, an operator, the gateway ``web``, and of whom else is asked for."""
    with contextlib.suppress(SystemExit):
        main(["certs", str(folder), "--gateway", "web", *more])
    return folder


@contextlib.contextmanager
def secured(
    lab: Path, network: Any, kind: type[ExpertsServicer] = ExpertsServicer
) -> Iterator[str]:
    """The address of a server of expert 0, of the checkpoint ``digest``."""
    settings = ExpertServerSection(tls=str(lab), listen="127.0.0.1:0")
    admission = Admission(CLOCK, Revocations(lab).known)
    evaluator = Evaluator(8, 64, CPU, CLOCK)
    expert = ServedExpert(0, "digest", network, CLASSES, (SHAPE,))
    servicer = kind(
        "a run",
        [expert],
        evaluator,
        CLOCK,
        lambda: False,
        Conditions(2**20),
        admission.refuse_stranger,
    )
    server = ExpertServer(servicer, settings, admission)
    evaluator.start()
    yield server.start()
    server.stop(0.0)
    evaluator.stop()


def some_rows() -> RowsAsked:
    """Rows for that expert."""
    x_t, t, cond = torch.randn(2, *SHAPE), torch.rand(2), torch.tensor([0, 1])
    return RowsAsked(0, "digest", x_t, t, cond, row_by_row=True, dtype=torch.float32)
