import multiprocessing
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from atoll.errors import DataError, OutOfMemory
from partition import workers
from partition.workers import Workers


def square(number: int) -> tuple[int, int]:
    """The square, and who has computed it."""
    if number % 7 == 0:
        time.sleep(0.01)  # so that later chunks are ready before
    return number * number, os.getpid()


def refuse(number: int) -> int:
    if number == 40:
        raise DataError("forty is refused")
    return number


def die(number: int) -> int:
    if number == 40:
        os.kill(os.getpid(), signal.SIGKILL)
    return number


@pytest.fixture(scope="module")
def two() -> Iterator[Workers]:
    with Workers(2) as two:
        yield two


def test_workers_give_results_in_order_from_other_processes(two: Workers) -> None:
    squares, processes = zip(*two.map(square, range(200)), strict=True)
    assert squares == tuple(number**2 for number in range(200))
    assert os.getpid() not in processes


def test_workers_draw_no_faster_than_results_are_taken(two: Workers) -> None:
    drawn = 0

    def endless() -> Iterator[int]:
        nonlocal drawn
        while True:
            yield drawn
            drawn += 1

    results = two.map(square, endless())
    for _ in range(100):
        next(results)
    in_flight = 16 * (2 + 2 + 1)  # chunks running, waiting, and being handed out
    assert drawn <= 100 + in_flight
    results.close()  # type: ignore[attr-defined]


def test_workers_raise_what_a_function_raises(two: Workers) -> None:
    results, seen = two.map(refuse, range(100)), []
    with pytest.raises(DataError, match="forty is refused"):
        seen.extend(results)
    assert [number for number, _ in two.map(square, range(3))] == [0, 1, 4]  # and go on


@pytest.mark.parametrize("num", [0, None])
def test_workers_for_little_work_are_not_started(num: int | None) -> None:
    before = multiprocessing.active_children()
    with Workers(num) as few:
        assert {process for _, process in few.map(square, range(500))} == {os.getpid()}
    assert multiprocessing.active_children() == before


def test_workers_for_much_work_are_started_in_the_midst(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(workers, "num_cores", lambda: 2)
    with Workers(None) as many:
        found = list(many.map(square, range(600)))
    assert [number for number, _ in found] == [number**2 for number in range(600)]
    assert {process for _, process in found[:512]} == {os.getpid()}
    assert os.getpid() not in {process for _, process in found[512:]}


def test_workers_of_which_one_is_killed_say_so() -> None:
    with Workers(2) as two, pytest.raises(OutOfMemory, match=r"killed.*lower data\.workers"):
        list(two.map(die, range(100)))


PROGRAM = """
import time
from partition.workers import Workers

if __name__ == "__main__":
    with Workers(2) as two:
        next(two.map(abs, range(100)))
        print("up", flush=True)
        time.sleep(60)
"""


def test_workers_end_with_who_has_started_them(tmp_path: Path) -> None:
    (tmp_path / "program.py").write_text(PROGRAM)
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    command = [sys.executable, str(tmp_path / "program.py")]
    with subprocess.Popen(command, stdout=subprocess.PIPE, env=environment) as parent:
        assert parent.stdout is not None
        assert parent.stdout.readline() == b"up\n"
        children = psutil.Process(parent.pid).children(recursive=True)
        assert len(children) >= 2
        parent.kill()
    assert psutil.wait_procs(children, timeout=30)[1] == []
