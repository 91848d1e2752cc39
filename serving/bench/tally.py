"""What a replay came to: pure arithmetic on its answers."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

REFUSED = "refused (429)"


@dataclass(frozen=True, slots=True)
class Answer:
    """What became of a request. Times are in seconds since the beginning of the replay.

    Attributes:
        due_at: when the trace has it arrive.
        sent_at: when it was sent; later, where the client is overloaded.
        ended_at: when it was answered, or given up.
        num_images: that it brought.
        failure: why it brought none; "" if it did.
    """

    due_at: float
    sent_at: float
    ended_at: float
    num_images: int = 0
    failure: str = ""

    @property
    def latency_s(self) -> float:
        """From when it was due: what the client was late by counts, too."""
        return self.ended_at - self.due_at


@dataclass(frozen=True, slots=True)
class Tally:
    """What a replay came to.

    Attributes:
        requests: that were sent.
        ok: that brought images.
        refused: because the server had too much to do.
        failed: for any other reason, by that reason; the most frequent first.
        seconds: from the beginning to the last answer.
        images_per_s: in that time.
        p50_s: latency that half of those that brought images do not exceed; None without any.
        p95_s: the same for 95 of 100.
        p99_s: the same for 99 of 100.
        in_time: that brought images before the deadline.
        goodput_per_s: images a second of those.
        late_s: the most that the client was late to send; what is measured is the client where
            this is not small.
    """

    requests: int
    ok: int
    refused: int
    failed: dict[str, int]
    seconds: float
    images_per_s: float
    p50_s: float | None
    p95_s: float | None
    p99_s: float | None
    in_time: int
    goodput_per_s: float
    late_s: float


def tallied(answers: Sequence[Answer], deadline_s: float) -> Tally:
    """Count and measure.

    Args:
        answers: at least one.
        deadline_s: after which an answer is worth nothing; inf for never.
    """
    good = [answer for answer in answers if not answer.failure]
    in_time = [answer for answer in good if answer.latency_s <= deadline_s]
    reasons = Counter(answer.failure for answer in answers if answer.failure)
    refused = reasons.pop(REFUSED, 0)
    seconds = max(answer.ended_at for answer in answers)
    p50_s, p95_s, p99_s = _percentiles([answer.latency_s for answer in good])
    return Tally(
        requests=len(answers),
        ok=len(good),
        refused=refused,
        failed=dict(reasons.most_common()),
        seconds=seconds,
        images_per_s=sum(answer.num_images for answer in good) / seconds,
        p50_s=p50_s,
        p95_s=p95_s,
        p99_s=p99_s,
        in_time=len(in_time),
        goodput_per_s=sum(answer.num_images for answer in in_time) / seconds,
        late_s=max(answer.sent_at - answer.due_at for answer in answers),
    )


def _percentiles(latencies: Sequence[float]) -> tuple[float | None, ...]:
    """The 50th, 95th and 99th, each a latency that was seen."""
    if not latencies:
        return None, None, None
    return tuple(np.quantile(latencies, (0.5, 0.95, 0.99), method="inverted_cdf").tolist())
