"""Whether the keys of a learning rate's schedule fit together."""

from __future__ import annotations


def refuse_schedule(schedule: str, refined_from: str | None, steps: int, warmup_steps: int) -> None:
    """Refuse keys of ``[training]`` of which one says what another takes back.

    Raises:
        ValueError: names the keys, and what would fit.
    """
    if schedule == "refined" and refined_from is None:
        raise ValueError(
            'schedule = "refined" is made of the curves of an earlier run, and refined_from does '
            "not name it; set it to that run's uri"
        )
    if schedule != "refined" and refined_from is not None:
        raise ValueError(
            f'refined_from = {refined_from!r} does not go with schedule = "{schedule}"; set that '
            'to "refined", or leave refined_from out'
        )
    if schedule == "refined" and warmup_steps:
        raise ValueError(
            f'warmup_steps = {warmup_steps} does not go with schedule = "refined", which warms up '
            "as the curves of the earlier run ask for; set it to 0"
        )
    refuse_long_warmup(schedule, {"steps": steps}, {"warmup_steps": warmup_steps})


def refuse_long_warmup(schedule: str, steps: dict[str, int], warmup: dict[str, int]) -> None:
    """Refuse a warm-up that leaves a schedule no step to decay in.

    Args:
        schedule: by its name.
        steps: of a job, by their key.
        warmup: steps of it, by theirs.

    Raises:
        ValueError: names the keys, and what would fit.
    """
    ((key, num),) = steps.items()
    ((warmup_key, num_warmup),) = warmup.items()
    if schedule != "constant" and num_warmup >= num:
        raise ValueError(
            f'{warmup_key} = {num_warmup} leaves none of {key} = {num} for schedule = "{schedule}" '
            "to decay in; lower it"
        )
