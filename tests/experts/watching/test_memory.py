from __future__ import annotations

import pytest
import torch

from atoll.errors import OutOfMemory
from atoll.types import JobSpec, Role
from experts.watching.memory import shortage_told

CUDA = (
    "CUDA out of memory. Tried to allocate 20.00 MiB. GPU 0 has a total capacity of 79.10 GiB of "
    "which 2.00 MiB is free. Process 1 has 79.09 GiB memory in use. See documentation."
)


def spec(role=Role.EXPERT):
    return JobSpec("job-7", role, 0, "run", 20, "digest")


def test_memory_that_torch_cannot_have_is_told_with_its_size_and_the_mend():
    with (
        pytest.raises(
            OutOfMemory,
            match=r"no memory left for job-7 .*\(4e\+09 GB at once\); lower "
            r"training.batch_size = 128, or raise training.accumulation",
        ),
        shortage_told(spec(), 128),
    ):
        torch.empty(10**18)


def test_router_that_has_no_memory_left_is_told_its_own_key():
    with (
        pytest.raises(OutOfMemory, match=r"lower router.batch_size = 64"),
        shortage_told(spec(Role.ROUTER), 64),
    ):
        raise MemoryError


def test_gpu_without_memory_tells_how_much_was_asked_for():
    with (
        pytest.raises(OutOfMemory, match=r"Tried to allocate 20.00 MiB. GPU 0 has .* is free\)"),
        shortage_told(spec(), 128),
    ):
        raise torch.OutOfMemoryError(CUDA)


def test_other_faults_are_left_as_they_are():
    with pytest.raises(RuntimeError, match="shapes differ"), shortage_told(spec(), 128):
        raise RuntimeError("shapes differ")
