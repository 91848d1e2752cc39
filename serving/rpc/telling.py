"""What the reader of a stream is told of a job, from one look at it to the next."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from atoll.wire.v1 import images_pb2 as wire
from router.recipe import png_of
from serving.service.job import ImageView, JobView, State

_OUTCOMES: dict[State, Any] = {
    "done": wire.OUTCOME_DONE,
    "failed": wire.OUTCOME_FAILED,
    "cancelled": wire.OUTCOME_CANCELLED,
}


def news(before: JobView | None, now: JobView) -> Iterator[wire.JobEvent]:
    """The events that lead from one view of a job to a later one.

    Made one by one as they are taken: of what a slow reader misses, nothing is kept.

    Args:
        before: what the reader knows; None for nothing.
        now: where it stands.
    """
    known = [None] * len(now.images) if before is None else before.images
    for index, (old, new) in enumerate(zip(known, now.images, strict=True)):
        yield from _of_image(index, old or ImageView(new.recipe), new)
    if now.is_over:
        yield wire.JobEvent(
            ended=wire.JobEnded(
                outcome=_OUTCOMES[now.state],
                reason=now.reason,
                queued_s=now.queued_s,
                seconds=now.seconds,
            )
        )


def _of_image(index: int, old: ImageView, new: ImageView) -> Iterator[wire.JobEvent]:
    if new.step > old.step:
        weights = [wire.StepWeights(experts=each) for each in new.weights[old.step :]]
        yield wire.JobEvent(
            progress=wire.ImageProgress(
                index=index,
                step=new.step,
                steps=new.recipe.steps,
                weights=weights,
                without=new.recipe.without,
            )
        )
    if new.image is not None:
        if old.image is None:
            png = png_of(new.image, new.recipe)
            image = wire.ImageDone(index=index, png=png, recipe=new.recipe.text)
            yield wire.JobEvent(image=image)
    elif new.preview is not None and new.preview_step > old.preview_step:
        png = png_of(new.preview)
        preview = wire.ImagePreview(index=index, step=new.preview_step, png=png)
        yield wire.JobEvent(preview=preview)
