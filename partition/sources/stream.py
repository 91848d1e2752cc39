"""The bytes of a URL: fetched ahead, on from where a connection broke, held against checksums."""

from __future__ import annotations

import contextlib
import hashlib
import io
import logging
import queue
import random
import re
import threading
from collections.abc import Callable, Iterator, Mapping
from typing import TypeVar

from atoll.errors import DataError
from atoll.passwords import hidden
from partition.sources.origins import Answer, Damaged, Origin, Unavailable

TRIES = 8  # in a row without a byte
_TOLD = 4  # after so many of them that is said
MOST_ASKED_S = 600  # of a pause that a server asks for
_PAUSE_S, _MOST_S = 0.5, 30.0  # before the first of them, and before any
_PIECE = 128 << 10  # at most so much is lost where a connection breaks
_PIECES_AHEAD = 128
_SHA256 = re.compile(r"\b[0-9a-fA-F]{64}\b")

# Waits for so many seconds, or until nobody wants the bytes any more: then it raises.
Wait = Callable[[float], None]
_T = TypeVar("_T")
_log = logging.getLogger(__name__)


def pieces(url: str, origin: Origin, wait: Wait) -> Iterator[bytes]:
    """The bytes of a URL in order.

    Where a connection breaks, the rest is asked for: from the byte where it broke. Tries that bring
    nothing follow each other after pauses that double, with a random part, or longer ones that the
    server asks for.

    Args:
        url: names it in errors.
        origin: what answers for it.
        wait: how to pass the pauses.

    Raises:
        Unavailable: 8 tries in a row brought nothing, or no try can.
        DataError: all is read, and is not what the server or a ``.sha256`` file tells of it.
    """
    beside = _patiently(url, origin.beside, wait)
    known: Answer | None = None
    hashes: dict[str, tuple[str, hashlib._Hash]] = {}
    at, failed = 0, 0
    while True:
        answer = _patiently(url, lambda: origin.ask(at), wait)  # noqa: B023 - called at once
        if known is None:
            known = answer
            hashes = {
                name: (each, hashlib.new(name, usedforsecurity=False))
                for name, each in _expected(url, answer.digests, beside).items()
            }
        reason = "the connection broke"
        try:
            _refuse_change(known, answer)
            for data in _body(answer, at):
                at, failed = at + len(data), 0
                for _, digest in hashes.values():
                    digest.update(data)
                yield data
            if known.total is None or at >= known.total:
                break
        except Unavailable as error:
            if not error.passing:
                raise
            reason = error.reason
        except Damaged as error:
            raise _damaged(url) from error
        finally:
            answer.close()
        failed += 1
        if failed == TRIES:
            whole = "" if known.total is None else f" of {known.total:,}"
            raise Unavailable(f"{reason} {failed} times after {at:,}{whole} bytes", passing=False)
        wait(_pause(failed))
    if any(expected != found.hexdigest() for expected, found in hashes.values()):
        raise _damaged(url)


class ReadAhead(io.RawIOBase):
    """The bytes of a URL as a file, of which a thread has up to 16 MiB ready.

    Args:
        url: names it in errors.
        origin: what answers for it.

    Reading raises what :func:`pieces` does.
    """

    def __init__(self, url: str, origin: Origin) -> None:
        self._url, self._origin = url, origin
        self._ready: queue.Queue[bytes | Exception | None] = queue.Queue(_PIECES_AHEAD)
        self._unwanted = threading.Event()
        self._piece = memoryview(b"")
        self._ended: Exception | None = None
        self._over = False
        threading.Thread(target=self._fill, daemon=True, name=f"reading {url}").start()

    def readable(self) -> bool:
        """It is."""
        return True

    def readinto(self, into: object) -> int:
        """See :class:`io.RawIOBase`."""
        view = memoryview(into).cast("B")  # type: ignore[arg-type]
        if not self._piece and not self._over:
            self._take()
        num = min(len(view), len(self._piece))
        view[:num] = self._piece[:num]
        self._piece = self._piece[num:]
        return num

    def drain(self) -> None:
        """Read what is left, so that all of it has been held against its length and digest."""
        while self.read(_PIECE):
            pass

    def close(self) -> None:
        """Let the thread end, soon."""
        self._unwanted.set()
        with contextlib.suppress(queue.Empty):
            while True:
                self._ready.get_nowait()
        super().close()

    def _take(self) -> None:
        if self._ended is not None:
            raise self._ended
        got = self._ready.get()
        if isinstance(got, Exception):
            self._ended = got
            raise got
        self._over = got is None
        self._piece = memoryview(got or b"")

    def _fill(self) -> None:
        try:
            for piece in pieces(self._url, self._origin, self._wait):
                self._give(piece)
            self._give(None)
        except _Unwanted:
            return
        except Exception as error:
            with contextlib.suppress(_Unwanted):
                self._give(error)

    def _give(self, piece: bytes | Exception | None) -> None:
        while not self._unwanted.is_set():
            with contextlib.suppress(queue.Full):
                self._ready.put(piece, timeout=0.1)
                return
        raise _Unwanted

    def _wait(self, seconds: float) -> None:
        if self._unwanted.wait(seconds):
            raise _Unwanted


class _Unwanted(Exception):
    """Nobody reads any more."""


def _patiently(url: str, ask: Callable[[], _T], wait: Wait) -> _T:
    for failed in range(1, TRIES + 1):
        try:
            return ask()
        except Unavailable as error:
            if not error.passing:
                raise
            if failed == TRIES:
                raise Unavailable(f"{error.reason}, {failed} times", passing=False) from error
            asked_s = _obeyed(error.reason, error.after_s or 0)
            pause_s = max(_pause(failed), asked_s)
            if failed >= _TOLD or asked_s > _MOST_S:  # nothing else tells why it stands still
                words = "%s: %s; asked again in %.0f s"  # whole, for who sets no logging up
                _log.warning(words, hidden(url), error.reason, pause_s)
            wait(pause_s)
    raise AssertionError("the last try returns or raises")


def _obeyed(reason: str, seconds: float) -> float:
    """As long as a server asks to wait. Raises: Unavailable, where that is not waited for."""
    if seconds > MOST_ASKED_S:
        raise Unavailable(
            f"{reason}, and asks to wait for {seconds:,.0f} s, of which {MOST_ASKED_S:,} s are the "
            "most that is waited; run the same command again then",
            passing=False,
        )
    return seconds


def _pause(failed: int) -> float:
    """Seconds before the next try: twice as long each time, and not the same for all who wait."""
    doubled: float = _PAUSE_S * 2 ** (failed - 1)
    return min(_MOST_S, doubled) * random.uniform(0.5, 1)  # noqa: S311 - no secret


def _body(answer: Answer, at: int) -> Iterator[bytes]:
    """What an answer brings from a place on; what a server gives again before that is let go."""
    passed = answer.first
    while data := answer.read(_PIECE):
        new = data[max(0, at - passed) :]
        passed += len(data)
        if new:
            yield new


def _refuse_change(known: Answer, now: Answer) -> None:
    pairs = ((known.total, now.total), (known.version, now.version))
    if any(None not in pair and pair[0] != pair[1] for pair in pairs):
        raise Unavailable("it was changed while it was read", passing=False)


def _expected(url: str, told: Mapping[str, str], beside: str | None) -> dict[str, str]:
    if beside is None or beside.lstrip().startswith("<"):  # a page that says there is none
        return dict(told)
    found = _SHA256.search(beside)
    if found is None:
        raise DataError(
            f"{url} cannot be verified: the .sha256 file beside it holds no digest; write that "
            "anew, e.g. by sha256sum, or remove it"
        )
    return {**told, "sha256": found[0].lower()}


def _damaged(url: str) -> DataError:
    return DataError(
        f"{url} is damaged: what arrives has another checksum than the server or the .sha256 file "
        "beside it tells; put it there anew, or take it out of data.path"
    )
