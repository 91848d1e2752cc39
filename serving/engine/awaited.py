"""What experts elsewhere were asked about images, and have not answered."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass

from torch import Tensor

from atoll.errors import Unreachable
from serving.engine.ahead import Ahead
from serving.engine.deferred import Answer, Deferred, Drawing
from serving.engine.hearing import Hearing, Question
from serving.engine.slots import Slots
from serving.engine.stretch import Stretch


@dataclass(frozen=True, slots=True, eq=False)
class _Asked:
    question: Question
    slots: frozenset[int]
    answer: Answer
    is_stretch: bool


class Awaited:
    """Asks, and has the images hear what is answered."""

    def __init__(self, ahead: Ahead, hearing: Hearing, told: Callable[[], None]) -> None:
        """Nobody was asked.

        Args:
            ahead: keeps what is said of points to come.
            hearing: hears what is said.
            told: called whenever there is an answer, in any thread.
        """
        self._ahead, self._hearing, self._told = ahead, hearing, told
        self._asked: list[_Asked] = []

    def ask(self, question: Question, field: Deferred, images: Slots) -> None:
        """Ask an expert, which may draw some of the images for a while."""
        parts: Iterable[tuple[Question, Stretch | None]] = [(question, None)]
        if isinstance(field, Drawing):
            parts = self._ahead.split(question, images, self._hearing)
        for part, stretch in parts:
            if stretch is None:
                answer = field.begin(part.x, part.t, part.cond, self._told)
            else:
                assert isinstance(field, Drawing)
                answer = field.begin_stretch(stretch, self._told)
            slots = frozenset(part.slot.tolist())
            self._asked.append(_Asked(part, slots, answer, stretch is not None))

    def withdraw(self, active: Collection[int]) -> None:
        """Wait no more for what is said of images alone that are drawn no further.

        Args:
            active: slots of all others.
        """
        asked, self._asked = self._asked, []
        for each in asked:
            if each.slots.isdisjoint(active):
                each.answer.cancel()
            else:
                self._asked.append(each)

    def hear(self, fail: Callable[[int, Exception], None]) -> bool:
        """Take the answers that have come.

        Args:
            fail: told the slot of an image whose rows no expert can take, and why.

        Returns:
            Whether there were any.
        """
        asked, self._asked = self._asked, []
        for each in asked:
            if not each.answer.done():
                self._asked.append(each)
                continue
            try:
                self._hear(each, each.answer.result())
            except Unreachable:  # whether there is another, its experts say
                self._hearing.withdraw(each.question)
                if each.is_stretch:
                    self._ahead.shorten(each.question)
            except Exception as error:  # whatever is wrong with these rows
                for slot in self._hearing.still(each.question):
                    fail(slot, error)
        return len(self._asked) < len(asked)

    def _hear(self, asked: _Asked, velocity: Tensor) -> None:
        if asked.is_stretch:
            self._ahead.keep(asked.question, velocity[1:], self._hearing)
            velocity = velocity[0]
        self._hearing.take(asked.question, velocity)
