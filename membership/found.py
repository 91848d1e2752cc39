"""What stands in a DHT under one key, as far as it is to be believed."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Self

from cryptography import x509

from membership.record import Forged, Kind, Record, opened

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Found:
    """Who of a kind there is in a run.

    Attributes:
        records: those that hold, of the largest number first; without who has left.
        num_refused: others that stood there: forged, ended, or of elsewhere.
    """

    records: tuple[Record, ...]
    num_refused: int

    @classmethod
    def among(
        cls, held: Iterable[bytes], authority: x509.Certificate, run: str, kind: Kind, now: float
    ) -> Self:
        """Read all that peers hold, which anybody may have written.

        Args:
            held: records, some of them perhaps former ones of the same name.
            authority: of the run.
            run: its name.
            kind: of who is sought.
            now: seconds since the Unix epoch.
        """
        newest: dict[str, Record] = {}
        num_refused = 0
        for data in held:
            try:
                record = opened(data, authority)
                _refuse_out_of_place(record, run, kind, now)
            except Forged as error:
                log.debug("a record is not believed", extra={"fields": {"why": str(error)}})
                num_refused += 1
            else:
                former = newest.setdefault(record.name, record)
                newest[record.name] = max(former, record, key=lambda each: each.until)
        here = [record for record in newest.values() if not record.left]
        here.sort(key=lambda record: (record.number, record.until), reverse=True)
        return cls(tuple(here), num_refused)


def _refuse_out_of_place(record: Record, run: str, kind: Kind, now: float) -> None:
    if (record.run, record.kind) != (run, kind):
        raise Forged(f"it is of {record.kind} {record.name} of {record.run}")
    if record.until < now:
        raise Forged(f"it has ended {now - record.until:.0f} s ago")
