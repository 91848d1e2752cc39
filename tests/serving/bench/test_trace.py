"""Traces: drawn, and recorded."""

from __future__ import annotations

import json

import numpy as np
import pytest

from atoll.errors import BadInput
from serving.bench.trace import Arrival, poisson, recorded

BODY = {"prompt": "a cat"}


def test_poisson_trace_follows_from_its_seed():
    assert poisson(5, 20, 1, BODY) == poisson(5, 20, 1, BODY)
    assert poisson(5, 20, 1, BODY) != poisson(5, 20, 2, BODY)


def test_poisson_trace_has_the_rate_and_the_spread_of_independent_arrivals():
    arrivals = poisson(10, 1000, 0, BODY)
    times = [arrival.at_s for arrival in arrivals]
    assert times == sorted(times)
    assert 0 < times[0] < times[-1] < 1000
    assert len(times) == pytest.approx(10_000, rel=0.04)  # four deviations
    in_each_s = np.bincount([int(at) for at in times], minlength=1000)
    assert in_each_s.var() == pytest.approx(in_each_s.mean(), rel=0.2)


def test_recorded_trace_is_read_in_the_order_of_its_times(tmp_path):
    file = tmp_path / "trace.jsonl"
    lines = [{"at_s": 2, "body": BODY}, {"at_s": 0.5, "body": {"class": "3", "n": 2}}]
    file.write_text("\n\n".join(json.dumps(line) for line in lines))
    assert recorded(file) == [Arrival(0.5, {"class": "3", "n": 2}), Arrival(2.0, BODY)]


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("rubbish", "line 1: Invalid JSON"),
        ('{"at_s": 1, "body": {}}\n{"at_s": -1, "body": {}}', "line 2: at_s"),
        ('{"at_s": NaN, "body": {}}', "line 1: at_s"),
        ('{"at_s": 1}', "line 1: body"),
        ('{"at_s": 1, "body": []}', "line 1: body"),
        ('{"at_s": 1, "body": {}, "seed": 3}', "line 1: seed"),
        ('{"at_s": 1, "body": {"stream": true}}', "line 1: streamed"),
        ('{"at_s": 1, "body": {"guidance": NaN}}', "line 1"),
        ("\n", "holds no request"),
    ],
)
def test_recorded_trace_that_is_none_is_refused_by_its_line(tmp_path, text, named):
    file = tmp_path / "trace.jsonl"
    file.write_text(text)
    with pytest.raises(BadInput, match=named):
        recorded(file)


def test_trace_that_is_not_there_is_refused(tmp_path):
    with pytest.raises(BadInput, match=r"none\.jsonl cannot be read"):
        recorded(tmp_path / "none.jsonl")
