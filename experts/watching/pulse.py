"""What a training process tells of itself while it works, so that one that hangs can be named.

Source: C4 (Dong et al., arXiv 2406.04594), which finds a hang by who did not come to a collective.
"""

from __future__ import annotations

import contextlib
import logging
import threading
from collections.abc import Iterator
from pathlib import Path

from atoll.beats import EVERY_S, Beat, Phase, write_beat
from experts.task import Place
from experts.watching import flight_recorder

logger = logging.getLogger(__name__)


class Pulse:
    """Where this process is.

    The first step, in which kernels are made and memory is found, still counts to the beginning.
    """

    def __init__(self) -> None:
        self._step, self._phase = 0, Phase.BEGIN
        self._told: tuple[Path, Place] | None = None
        self._is_vague = False  # whether it could not be told where the process is

    def beat(self, work_dir: Path, place: Place) -> None:
        """Tell of it every second, from a thread of its own, until the process ends.

        To be called before the first group of processes is made.

        Args:
            work_dir: where the agent looks for the beats.
            place: of this process.
        """
        flight_recorder.record()
        self._told = work_dir, place
        threading.Thread(target=self._beat, name="pulse", daemon=True).start()

    def stepped(self, step: int) -> None:
        """So many steps are done, and the next begins."""
        self._step, self._phase = step, Phase.STEP

    @contextlib.contextmanager
    def during(self, phase: Phase) -> Iterator[None]:
        """Inside, the process is at something else, for which others may have to wait."""
        before, self._phase = self._phase, phase
        yield
        self._phase = before

    def end(self) -> None:
        """No step follows; told before the process may be gone."""
        self._phase = Phase.END
        self._tell()

    def _beat(self) -> None:
        pause = threading.Event()
        while not pause.wait(EVERY_S):
            self._tell()

    def _tell(self) -> None:
        if self._told is None:
            return
        work_dir, place = self._told
        try:
            write_beat(work_dir, self._now(place))
        except OSError as error:
            logger.warning("no beat", extra={"fields": {"error": str(error)}})

    def _now(self, place: Place) -> Beat:
        try:
            entered, inside = flight_recorder.come_to()
            at, call = flight_recorder.main_thread_at()
        except Exception:  # what cannot tell where it is still lives
            if not self._is_vague:
                logger.warning("no collectives are told", exc_info=True)
            self._is_vague, entered, inside, at, call = True, {}, [], "", None
        if call is not None and not inside:
            inside = [call]
        where = place.rank, place.world, self._step, self._phase
        return Beat(*where, entered, tuple(inside), at)
