"""What a peer of the DHT keeps, of all that anybody may write."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from cryptography import x509
from hivemind.dht import DHTID
from hivemind.dht.crypto import DHTRecord, RecordValidatorBase
from hivemind.utils import MSGPackSerializer

from membership.record import Forged, Record
from membership.signing import key_of, opened


class Signed(RecordValidatorBase):  # type: ignore[misc]
    """What a peer takes from others: records that their signatures bear out.

    It goes by no clock, because hivemind refuses all of an answer for one record in it.
    """

    def __init__(self, authorities: Sequence[x509.Certificate]) -> None:
        self._authorities = authorities

    def validate(self, record: DHTRecord) -> bool:
        """See :class:`RecordValidatorBase`."""
        return any(self._is_right(record, authority) for authority in self._authorities)

    def _is_right(self, stored: DHTRecord, authority: x509.Certificate) -> bool:
        try:
            record = opened(unpacked(stored.value), authority)
        except Forged:
            return False
        return _place_of(record, authority) == (
            stored.key,
            stored.subkey,
            stored.expiration_time,
        )


def _place_of(record: Record, authority: x509.Certificate) -> tuple[bytes, bytes, float]:
    """Where a record belongs: key, sub-key and end; anywhere else it could hide others."""
    key = DHTID.generate(source=key_of(authority, record.run, record.kind))
    return key.to_bytes(), MSGPackSerializer.dumps(record.name), record.until


def unpacked(packed: Any) -> bytes:
    """The bytes that hivemind has packed into a value. Raises: Forged, it holds none."""
    try:
        value = MSGPackSerializer.loads(packed)
    except Exception as error:  # whatever msgpack, or a type it knows, says of what anybody wrote
        raise Forged("it cannot be read") from error
    if not isinstance(value, bytes):
        raise Forged("it is no record")
    return value
