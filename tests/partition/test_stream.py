import hashlib
import threading
import time
from collections.abc import Iterator
from typing import Any

import boto3
import numpy as np
import pytest
from werkzeug.wrappers import Response

from atoll.errors import BadInput, DataError
from partition.sources import origins, stream
from partition.sources.origins import HttpOrigin, Origins, S3Origin, Unavailable
from partition.sources.stream import MOST_ASKED_S, TRIES, ReadAhead, pieces
from tests.partition.faulty_server import FaultyServer

DATA = np.random.default_rng(0).integers(0, 256, 3_000_000, np.uint8).tobytes()


@pytest.fixture
def server() -> Iterator[FaultyServer]:
    server = FaultyServer()
    server.files["a.tar"] = DATA
    yield server
    server.stop()


class Pauses(list[float]):
    """Remembers how long somebody would have waited."""

    def __call__(self, seconds: float) -> None:
        self.append(seconds)


def read(server: FaultyServer, pauses: Pauses | None = None, name: str = "a.tar") -> bytes:
    url = f"{server.url}/{name}"
    return b"".join(pieces(url, HttpOrigin(url), pauses if pauses is not None else Pauses()))


def test_stream_cut_again_and_again_goes_on_at_the_byte(server: FaultyServer) -> None:
    server.faults = [100_000, 0, 1_500_000, 7]
    assert read(server) == DATA
    places = [wish for _, wish in server.asked]
    assert places == [None, *(f"bytes={at}-" for at in (100_000, 100_000, 1_600_000, 1_600_007))]


def test_stream_whose_connection_is_reset_goes_on(server: FaultyServer) -> None:
    server.faults, server.resets = [100_000, 0, 1_500_000, 7], True
    assert read(server) == DATA


def test_stream_from_a_server_without_ranges_passes_over_what_it_has(server: FaultyServer) -> None:
    server.ranges, server.faults = False, [1_200_000, 2_000_000]
    assert read(server) == DATA


@pytest.mark.parametrize("status", [429, 500, 503])
def test_stream_throttled_waits_twice_as_long_each_time(server: FaultyServer, status: int) -> None:
    server.faults, pauses = [status] * 4, Pauses()
    assert read(server, pauses) == DATA
    assert [0.25 * 2**n <= pause <= 0.5 * 2**n for n, pause in enumerate(pauses)] == [True] * 4


def test_stream_that_stands_still_for_long_says_so(
    server: FaultyServer, caplog: pytest.LogCaptureFixture
) -> None:
    server.faults, pauses = [503] * 6, Pauses()
    assert read(server, pauses) == DATA
    said = [record.getMessage() for record in caplog.records if record.name == stream.__name__]
    assert len(said) == 3  # of the fourth try and those after it
    assert all("the server answers 503" in each and "; asked again in" in each for each in said)


def test_stream_throttled_waits_as_the_server_asks(server: FaultyServer) -> None:
    server.faults, server.retry_after, pauses = [503, 503], "7", Pauses()
    assert read(server, pauses) == DATA
    assert pauses == [7, 7]


@pytest.mark.parametrize("asked", ["0", "1", "Fri, 31 Dec 1999 23:59:59 GMT"])
def test_stream_throttled_waits_no_less_than_by_itself(server: FaultyServer, asked: str) -> None:
    server.faults, server.retry_after, pauses = [503] * 4, asked, Pauses()
    assert read(server, pauses) == DATA
    least = max(0.25, float(asked)) if asked.isdecimal() else 0.25
    assert [pause >= max(least, 0.25 * 2**n) for n, pause in enumerate(pauses)] == [True] * 4


@pytest.mark.parametrize("asked", [30, MOST_ASKED_S])
def test_stream_throttled_waits_longer_than_by_itself_where_the_server_asks_and_says_so(
    server: FaultyServer, caplog: pytest.LogCaptureFixture, asked: int
) -> None:
    server.faults, server.retry_after, pauses = [503], str(asked), Pauses()
    url = server.url.replace("//", "//user:secret@") + "/a.tar?signature=secret"
    whole = b"".join(pieces(url, HttpOrigin(f"{server.url}/a.tar"), pauses))
    assert (whole, pauses) == (DATA, [asked])
    said = [record.getMessage() for record in caplog.records if record.name == stream.__name__]
    named = server.url.replace("//", "//***@") + "/a.tar?***: the server answers 503 "
    assert [each.startswith(named) for each in said] == [True] * (asked == MOST_ASKED_S)
    assert [each.endswith("; asked again in 600 s") for each in said] == [True] * len(said)


@pytest.mark.parametrize("asked", [str(MOST_ASKED_S + 1), "Fri, 31 Dec 9999 23:59:59 GMT"])
def test_stream_throttled_for_too_long_is_given_up_at_once(
    server: FaultyServer, asked: str
) -> None:
    server.faults, server.retry_after, pauses = [503], asked, Pauses()
    words = r"the server answers 503 .*, and asks to wait for [\d,]+ s, of which 600 s are the most"
    with pytest.raises(Unavailable, match=words):
        read(server, pauses)
    assert pauses == []


@pytest.mark.parametrize(
    ("told", "seconds"),
    [
        ("7", 7),
        ("Fri, 31 Dec 1999 23:59:59 GMT", 7),
        ("Friday, 31-Dec-99 23:59:59 GMT", 7),  # as older servers write it
        ("Fri Dec 31 23:59:59 1999", 7),
        ("Fri, 31 Dec 1999 23:59:00 GMT", 0),  # is over
        ("soon", None),
        ("Fri, 31 Dec 99999 23:59:59 GMT", None),
        ("", None),
    ],
)
def test_pause_that_a_server_asks_for_is_read_as_number_or_date(
    told: str, seconds: float | None
) -> None:
    headers = {"Retry-After": told, "Date": "Fri, 31 Dec 1999 23:59:52 GMT"}
    assert origins._asked_pause(headers) == seconds


def test_stream_throttled_for_good_is_given_up(server: FaultyServer) -> None:
    server.faults = [503] * TRIES
    with pytest.raises(Unavailable, match="the server answers 503 Service Unavailable, 8 times"):
        read(server)
    assert server.faults == []


def test_stream_cut_for_good_is_given_up_after_tries_without_a_byte(server: FaultyServer) -> None:
    server.faults = [1_100_000] + [0] * TRIES
    with pytest.raises(Unavailable, match=r"broke 8 times after 1,100,000 of 3,000,000 bytes"):
        read(server)


@pytest.mark.parametrize("status", [403, 404])
def test_stream_refused_is_not_asked_for_again(server: FaultyServer, status: int) -> None:
    server.faults = [status]
    with pytest.raises(Unavailable, match=f"the server answers {status}"):
        read(server, name="a.tar" if status == 403 else "gone.tar")
    assert len(server.asked) == (status == 403)


def test_stream_from_nobody_is_given_up() -> None:
    pauses, url = Pauses(), "http://127.0.0.1:9/a.tar"
    with pytest.raises(Unavailable, match=r"no answer .*refused.*, 8 times"):
        list(pieces(url, HttpOrigin(url), pauses))
    assert len(pauses) == TRIES - 1


def test_stream_shorter_than_its_length_is_no_whole(server: FaultyServer) -> None:
    server.lengths["a.tar"] = len(DATA) + 10
    with pytest.raises(Unavailable, match="416"):
        read(server)


def test_stream_changed_between_two_connections_is_refused(server: FaultyServer) -> None:
    server.faults = [100_000]
    url = f"{server.url}/a.tar"
    coming = pieces(url, HttpOrigin(url), Pauses())
    next(coming)
    server.files["a.tar"] = DATA[:-1]
    with pytest.raises(Unavailable, match="changed while it was read"):
        list(coming)


@pytest.mark.parametrize("told", [None, "bytes", "bytes */5"])
def test_stream_of_a_part_that_is_not_told_is_refused(
    server: FaultyServer, told: str | None
) -> None:
    server.faults, server.content_range = [100_000], told
    with pytest.raises(Unavailable, match="gives a part and does not tell which"):
        read(server)


@pytest.mark.parametrize(
    ("etag", "digests"),
    [
        ('"0123456789ABCDEF0123456789abcdef"', {"md5": "0123456789abcdef0123456789abcdef"}),
        ('"0123456789abcdef0123456789abcdef-2"', {}),
        ('"v17"', {}),
        ('"0123456789abcdef0123456789abcdeg"', {}),
    ],
)
def test_etag_is_held_against_what_arrives_only_where_it_is_an_md5(
    etag: str, digests: dict[str, str]
) -> None:
    assert origins._digests({"ETag": etag}) == digests


@pytest.mark.parametrize("line", ["{}", "{}  a.tar\n", "SHA256 (a.tar) = {}\n"])
def test_stream_is_held_against_a_digest_beside_it(server: FaultyServer, line: str) -> None:
    server.files["a.tar.sha256"] = line.format(hashlib.sha256(DATA).hexdigest()).encode()
    server.faults = [None, 100_000]
    assert read(server) == DATA
    server.files["a.tar"] = DATA[:-1] + bytes([DATA[-1] ^ 1])
    with pytest.raises(DataError, match=r"/a\.tar is damaged: .*another checksum"):
        read(server)


@pytest.mark.parametrize("told", [b"garbage", b"", b"abc123  a.tar"])
def test_digest_beside_that_is_none_is_refused_rather_than_passed_over(
    server: FaultyServer, told: bytes
) -> None:
    server.files["a.tar.sha256"] = told
    with pytest.raises(DataError, match=r"/a\.tar cannot be verified: the \.sha256 file"):
        read(server)


def test_page_that_answers_for_what_is_not_there_is_no_digest(server: FaultyServer) -> None:
    server.files["a.tar.sha256"] = b"\n<!doctype html><title>Not found</title>"
    assert read(server) == DATA


def test_read_ahead_gives_the_same_bytes_in_pieces_of_any_size(server: FaultyServer) -> None:
    url, got = f"{server.url}/a.tar", bytearray()
    with ReadAhead(url, HttpOrigin(url)) as file:
        while piece := file.read(70_001):
            got += piece
    assert bytes(got) == DATA


def test_read_ahead_holds_no_more_than_a_few_pieces(
    server: FaultyServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stream, "_PIECE", 100_000)
    monkeypatch.setattr(stream, "_PIECES_AHEAD", 2)
    url, drawn = f"{server.url}/a.tar", []
    whole = stream.pieces

    def counted(*given: Any) -> Iterator[bytes]:
        for piece in whole(*given):
            drawn.append(len(piece))
            yield piece

    monkeypatch.setattr(stream, "pieces", counted)
    with ReadAhead(url, HttpOrigin(url)) as file:
        taken = len(file.read(1))
        for _ in range(20):
            time.sleep(0.01)
        # One that is being given out, those ready, and the next in the thread's hand.
        assert sum(drawn) <= 4 * 100_000
        assert taken == 1


def test_read_ahead_closed_early_ends_its_thread(server: FaultyServer) -> None:
    server.faults = [503] * 3  # so that it waits
    url = f"{server.url}/a.tar"
    file = ReadAhead(url, HttpOrigin(url))
    (thread,) = (each for each in threading.enumerate() if each.name == f"reading {url}")
    file.close()
    thread.join(30)
    assert not thread.is_alive()


# --- S3 ------------------------------------------------------------------------------------------


def put(bucket: str, data: bytes = DATA, **given: str) -> tuple[str, Any]:
    client = boto3.client("s3")
    name = bucket.removeprefix("s3://")
    client.put_object(Bucket=name, Key="deep/a.tar", Body=data, **given)
    return f"{bucket}/deep/a.tar", client


def s3_read(url: str, pauses: Pauses | None = None) -> bytes:
    return b"".join(pieces(url, Origins().of(url), pauses if pauses is not None else Pauses()))


def test_s3_stream_is_whole_and_its_digest_is_known(s3: Any, bucket: str) -> None:
    url, client = put(bucket, ChecksumAlgorithm="SHA256")
    assert s3_read(url) == DATA
    told = S3Origin(url, client).ask(0)
    assert dict(told.digests) == {"sha256": hashlib.sha256(DATA).hexdigest()}
    told.close()
    url, client = put(bucket, DATA[1:], ChecksumAlgorithm="CRC32")
    told = S3Origin(url, client).ask(0)
    assert dict(told.digests) == {"md5": hashlib.md5(DATA[1:], usedforsecurity=False).hexdigest()}
    told.close()


def cut(response: Response, num: int) -> Response:
    """An answer whose connection ends early."""
    data = response.get_data()
    response.direct_passthrough = True
    length = response.headers["Content-Length"]
    response.response = [data[:num]]
    response.headers["Content-Length"] = length
    return response


def test_s3_stream_cut_goes_on_at_the_byte(s3: Any, bucket: str) -> None:
    url, _ = put(bucket)
    cuts = iter([100_000, 1_000_000])

    def interfere(line: str, answer: Any) -> Response:
        at = next(cuts, None) if "a.tar?" in line and line.startswith("GET") else None
        return answer() if at is None else cut(answer(), at)

    s3.interfere = interfere
    assert s3_read(url) == DATA


SLOW = (
    '<?xml version="1.0"?><Error><Code>SlowDown</Code><Message>Reduce your rate</Message></Error>'
)


def test_s3_that_throttles_is_asked_again_and_given_up_in_the_end(
    s3: Any, bucket: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")  # else boto3 tries again by itself as well
    url, _ = put(bucket)
    slow = 6

    def interfere(line: str, answer: Any) -> Response:
        nonlocal slow
        slow -= "a.tar?" in line
        slowly = Response(SLOW, 503, {"Retry-After": "9"} if slow % 2 else {})
        return slowly if slow >= 0 and "a.tar?" in line else answer()

    s3.interfere, pauses = interfere, Pauses()
    assert s3_read(url, pauses) == DATA
    assert [pause == 9 for pause in pauses] == [True, False] * 3
    slow = 10**6
    with pytest.raises(Unavailable, match="S3 answers SlowDown: Reduce your rate, 8 times"):
        s3_read(url)


def test_s3_bytes_that_are_not_those_stored_are_refused(s3: Any, bucket: str) -> None:
    url, _ = put(bucket, ChecksumAlgorithm="SHA256")

    def interfere(line: str, answer: Any) -> Response:
        response = answer()
        if "a.tar?" in line:
            response.set_data(DATA[:-1] + bytes([DATA[-1] ^ 1]))
        return response

    s3.interfere = interfere
    with pytest.raises(DataError, match=r"a\.tar is damaged: .*another checksum"):
        s3_read(url)


def test_s3_object_that_is_not_there_is_named_with_the_reason(s3: Any, bucket: str) -> None:
    with pytest.raises(Unavailable, match="S3 answers NoSuchKey"):
        s3_read(f"{bucket}/gone.tar")


def test_s3_without_credentials_says_what_to_set(
    s3: Any, bucket: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    url, _ = put(bucket)
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    with pytest.raises(BadInput, match=r"no AWS credentials were found to read data\.path"):
        s3_read(url)
