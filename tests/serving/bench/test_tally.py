"""Counting answers, by numbers made by hand."""

from __future__ import annotations

import math

import pytest

from serving.bench.tally import REFUSED, Answer, tallied


def test_tally_counts_what_became_of_requests_by_reason():
    failures = ["", REFUSED, "500: oh", "", "no", "no", REFUSED, "no"]
    answers = [Answer(0, 0, 4, 0 if why else 3, why) for why in failures]
    tally = tallied(answers, math.inf)
    assert (tally.requests, tally.ok, tally.refused) == (8, 2, 2)
    assert list(tally.failed.items()) == [("no", 3), ("500: oh", 1)]
    assert tally.images_per_s == 6 / 4


def test_percentiles_are_latencies_that_were_seen_of_requests_that_brought_images():
    answers = [Answer(place, place, place + place, 1) for place in range(1, 101)]
    tally = tallied([*answers, Answer(0, 0, 1000, 0, "no")], math.inf)
    assert (tally.p50_s, tally.p95_s, tally.p99_s) == (50, 95, 99)
    one = tallied([Answer(1, 1, 3, 1)], math.inf)
    assert (one.p50_s, one.p95_s, one.p99_s) == (2, 2, 2)


def test_latency_counts_from_when_a_request_was_due():
    tally = tallied([Answer(1, 5, 6, 1)], 2)
    assert tally.p50_s == 5
    assert tally.late_s == 4
    assert tally.in_time == 0


def test_goodput_counts_images_that_came_before_the_deadline():
    answers = [
        Answer(0, 0, 2, 1),
        Answer(1, 1, 4, 4),
        Answer(5, 5, 10, 7),  # too late
        Answer(5, 5, 5, 0, REFUSED),
    ]
    tally = tallied(answers, 3)
    assert tally.in_time == 2
    assert tally.goodput_per_s == pytest.approx(5 / 10)
    assert tally.images_per_s == pytest.approx(12 / 10)


def test_tally_of_failures_alone_has_no_latency():
    tally = tallied([Answer(0, 0, 1, 0, "no")], math.inf)
    assert (tally.p50_s, tally.p95_s, tally.p99_s) == (None, None, None)
    assert tally.goodput_per_s == 0
