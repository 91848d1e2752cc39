"""What a place keeps of one kind and run, as far as it is to be believed."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

from atoll.address import is_loopback
from membership.record import LASTS_S, SKEW_S, Forged, Kind, Record, read_plain

if TYPE_CHECKING:
    from cryptography import x509

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Found:
    """Who of a kind there is in a run.

    Attributes:
        records: those that hold, of the largest number first; without who has left.
        num_refused: others that stood there: forged, ended, or of elsewhere.
        left: names of who said last that they are no more.
    """

    records: tuple[Record, ...]
    num_refused: int
    left: frozenset[str] = frozenset()

    @classmethod
    def among(
        cls,
        held: Iterable[bytes],
        authority: x509.Certificate | None,
        run: str,
        kind: Kind,
        now: float,
    ) -> Self:
        """Read all that is kept there, which anybody may have written.

        Args:
            held: records, some of them perhaps former ones of the same name.
            authority: of the run; None on loopback in plain text, where nobody signs.
            run: its name.
            kind: of who is sought.
            now: seconds since the Unix epoch.
        """
        newest: dict[str, Record] = {}
        num_refused = 0
        for data in held:
            try:
                record = believed(data, authority)
                _refuse_out_of_place(record, run, kind, now)
            except Forged as error:
                log.debug("a record is not believed", extra={"fields": {"why": str(error)}})
                num_refused += 1
            else:
                former = newest.setdefault(record.name, record)
                newest[record.name] = max(former, record, key=lambda each: each.until)
        here = [record for record in newest.values() if not record.left]
        here.sort(key=lambda record: (record.number, record.until), reverse=True)
        left = frozenset(record.name for record in newest.values() if record.left)
        return cls(tuple(here), num_refused, left)


def believed(data: bytes, authority: x509.Certificate | None) -> Record:
    """A record as far as who has signed it may say it; arguments as of :meth:`Found.among`.

    Raises:
        Forged: it is not to be believed.
    """
    if authority is None:
        record = read_plain(data)
        if record.address and not is_loopback(record.address):
            raise Forged(f"{record.address} is beyond this machine, and nobody has signed for it")
        if record.kind is Kind.EXPERTS and record.name != record.address:
            raise Forged("a server of experts is called by its address, and this one is not")
        return record
    from membership.signing import opened  # noqa: PLC0415 - plain ones need no cryptography

    return opened(data, authority)


def _refuse_out_of_place(record: Record, run: str, kind: Kind, now: float) -> None:
    if (record.run, record.kind) != (run, kind):
        raise Forged(f"it is of {record.kind} {record.name} of {record.run}")
    if record.until < now:
        raise Forged(f"it has ended {now - record.until:.0f} s ago")
    if record.until > now + LASTS_S + SKEW_S:
        raise Forged(f"it lasts for {record.until - now:.0f} s, and none does so for over a minute")
