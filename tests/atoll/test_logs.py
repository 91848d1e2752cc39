"""Log lines carry their fields, for machines and for people."""

import json
import logging

from atoll.logs import JsonLines, Words


def record(**fields: object) -> logging.LogRecord:
    made = logging.LogRecord("cluster.agent", logging.INFO, "", 0, "lease lost", (), None)
    made.fields = fields
    return made


def test_json_line_holds_event_and_fields() -> None:
    line = json.loads(JsonLines().format(record(job="expert-1", epoch=3)))
    assert (line["event"], line["level"], line["logger"]) == ("lease lost", "info", "cluster.agent")
    assert (line["job"], line["epoch"]) == ("expert-1", 3)


def test_words_hold_event_and_fields() -> None:
    assert Words("%(message)s").format(record(job="expert-1")) == "lease lost  job=expert-1"
