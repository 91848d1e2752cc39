"""Logging: an event and its fields; people get a coloured line, machines a JSON line."""

from __future__ import annotations

import json
import logging
import sys
from datetime import UTC, datetime
from typing import Any


class JsonLines(logging.Formatter):
    """One JSON object a line: time, level, logger, event, and the fields given as ``extra``."""

    def format(self, record: logging.LogRecord) -> str:
        """Format one record."""
        line = {
            "at": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "event": record.getMessage(),
            **fields_of(record),
        }
        if record.exc_info:
            line["error"] = self.formatException(record.exc_info)
        return json.dumps(line, default=str)


class Words(logging.Formatter):
    """The event and its fields, for people."""

    def format(self, record: logging.LogRecord) -> str:
        """Format one record."""
        fields = (f"{name}={value}" for name, value in fields_of(record).items())
        return "  ".join([super().format(record), *fields])


def fields_of(record: logging.LogRecord) -> dict[str, Any]:
    """The fields a caller passed as ``extra={"fields": {…}}``."""
    fields = getattr(record, "fields", {})
    return dict(fields) if isinstance(fields, dict) else {}


def set_up(level: int = logging.INFO) -> None:
    """Install the one handler; called by entry points only."""
    handler: logging.Handler
    if sys.stderr.isatty():
        from rich.logging import RichHandler  # noqa: PLC0415 - only where a person looks

        handler = RichHandler(show_path=False)
        handler.setFormatter(Words("%(message)s"))
    else:
        handler = logging.StreamHandler()
        handler.setFormatter(JsonLines())
    logging.basicConfig(level=level, handlers=[handler], force=True)
    logging.getLogger("botocore").setLevel(logging.WARNING)  # tells each process where keys are
