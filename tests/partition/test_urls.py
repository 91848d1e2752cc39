"""WebDataset tars that are read from URLs."""

import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import boto3
import numpy as np
import pytest

from atoll.__main__ import main
from atoll.config import Config
from atoll.config_file import parse_config
from atoll.errors import ConfigError, DataError
from atoll.sections import DataSection
from partition.intake import Intake
from partition.sources import Sample, open_source, stream
from partition.sources.stream import TRIES
from tests.partition.faulty_server import FaultyServer
from tests.partition.tars import tar_members, write_tar, zero_header


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[FaultyServer]:
    monkeypatch.setattr(stream, "_PAUSE_S", 0.001)
    server = FaultyServer()
    yield server
    server.stop()


def tars(folder: Path, num: int, compression: str = "", suffix: str = "tar") -> dict[str, bytes]:
    found = {}
    for number in range(num):
        path = folder / f"s-{number:03d}.{suffix}"
        write_tar(path, tar_members(4, first=4 * number), compression)
        found[path.name] = path.read_bytes()
    return found


def intake(path: str, **settings: Any) -> Intake:
    data = DataSection(source="webdataset", path=path, **settings)
    return Intake(open_source(data), data)


def assert_equal(found: list[Sample], expected: list[Sample]) -> None:
    assert [(s.key, s.label, s.caption) for s in found] == [
        (s.key, s.label, s.caption) for s in expected
    ]
    assert all(np.array_equal(a.image, b.image) for a, b in zip(found, expected, strict=True))


@pytest.mark.parametrize(
    ("compression", "suffix"), [("", "tar"), ("gz", "tar.gz"), ("xz", "tar.xz")]
)
def test_tars_by_http_give_what_they_give_from_a_disk(
    tmp_path: Path, server: FaultyServer, compression: str, suffix: str
) -> None:
    server.files = tars(tmp_path, 3, compression, suffix)
    server.faults = [503, 700, None, 300, 429]
    by_url = list(intake(f"{server.url}/s-{{000..002}}.{suffix}"))
    assert_equal(by_url, list(intake(f"{tmp_path}/s-{{000..002}}.{suffix}")))


def test_tars_in_s3_give_what_they_give_from_a_disk(tmp_path: Path, s3: Any, bucket: str) -> None:
    client = boto3.client("s3")
    for name, data in tars(tmp_path, 3).items():
        client.put_object(Bucket=bucket.removeprefix("s3://"), Key=f"deep/{name}", Body=data)
        client.put_object(Bucket=bucket.removeprefix("s3://"), Key=f"deep/{name}.json", Body=b"{}")
    expected = list(intake(str(tmp_path)))
    assert_equal(list(intake(f"{bucket}/deep/s-{{000..002}}.tar")), expected)
    assert_equal(list(intake(f"{bucket}/deep")), expected)
    with pytest.raises(DataError, match=r"no \.tar files lie below .*/shallow"):
        intake(f"{bucket}/shallow")


def test_tar_by_url_cut_short_is_refused_or_kept_up_to_the_cut(
    tmp_path: Path, server: FaultyServer
) -> None:
    server.files = tars(tmp_path, 2)
    whole = server.files["s-000.tar"]
    server.files["s-000.tar"] = whole[: whole.index(b"0002.png")]  # as if it were stored so
    pattern = f"{server.url}/s-{{000..001}}.tar"
    with pytest.raises(DataError, match=rf"{server.url}/s-000\.tar cannot be used: it is cut off"):
        list(intake(pattern))
    kept = intake(pattern, on_error="skip")
    assert [s.caption for s in kept] == [f"number {i}" for i in (0, 4, 5, 6, 7)]
    assert [item.name for item in kept.skipped] == [f"{server.url}/s-000.tar"]


def test_tar_by_url_with_a_header_lost_in_its_middle_is_refused(
    tmp_path: Path, server: FaultyServer
) -> None:
    server.files = tars(tmp_path, 1)
    zero_header(tmp_path / "s-000.tar", "0002.png")
    server.files["s-000.tar"] = (tmp_path / "s-000.tar").read_bytes()
    with pytest.raises(DataError, match=r"s-000\.tar cannot be used: it is cut off or damaged"):
        list(intake(f"{server.url}/s-000.tar"))


@pytest.mark.parametrize("status", [400, 403, 405, 410, 501])
def test_tar_without_a_digest_beside_it_is_read_however_the_server_says_so(
    tmp_path: Path, server: FaultyServer, status: int
) -> None:
    server.files, server.absent = tars(tmp_path, 1), status
    assert len(list(intake(f"{server.url}/s-000.tar"))) == 4


def test_tar_that_does_not_arrive_is_refused_or_skipped_by_its_url(
    tmp_path: Path, server: FaultyServer
) -> None:
    server.files = tars(tmp_path, 3)
    del server.files["s-001.tar"]
    pattern = f"{server.url}/s-{{000..002}}.tar"
    words = r"s-001\.tar cannot be used: it cannot be read to its end: the server answers 404"
    with pytest.raises(DataError, match=words):
        list(intake(pattern))
    kept = intake(pattern, on_error="skip")
    assert len(list(kept)) == 8
    assert [item.name for item in kept.skipped] == [f"{server.url}/s-001.tar"]


def test_tar_whose_connection_breaks_for_good_gives_what_came(
    tmp_path: Path, server: FaultyServer
) -> None:
    server.files = tars(tmp_path, 1)
    at = server.files["s-000.tar"].index(b"0002.png")
    server.faults = [at + 700] + [0] * TRIES
    kept = intake(f"{server.url}/s-000.tar", on_error="skip")
    assert [s.caption for s in kept] == ["number 0", "number 1"]
    (skipped,) = kept.skipped
    assert f"broke {TRIES} times after {at + 700:,} of 20,480 bytes" in skipped.reason


def test_tar_with_another_digest_is_refused_even_where_others_are_skipped(
    tmp_path: Path, server: FaultyServer
) -> None:
    server.files = tars(tmp_path, 1)
    digest = hashlib.sha256(server.files["s-000.tar"]).hexdigest()
    server.files["s-000.tar.sha256"] = digest.encode()
    url = f"{server.url}/s-000.tar"
    assert len(list(intake(url))) == 4
    damaged = bytearray(server.files["s-000.tar"])
    damaged[-1] ^= 1  # behind the end of the tar
    server.files["s-000.tar"] = bytes(damaged)
    with pytest.raises(DataError, match=rf"{url} is damaged"):
        list(intake(url, on_error="skip"))


def test_url_with_a_password_is_refused_by_key() -> None:
    with pytest.raises((ConfigError, ValueError), match="holds a password"):
        Config.model_validate({"data": {"path": "https://me:secret@host/a.tar"}})


@pytest.mark.parametrize(
    "url",
    [
        "https://host/{0..9}.tar?X-Amz-Signature=hush",
        "https://hush@host/a.tar",
        "s3://hush@bucket/a.tar",
        "{https://host/a.tar?hush,b.tar}",
    ],
)
def test_url_with_a_user_or_a_query_is_refused_without_being_told(url: str) -> None:
    with pytest.raises(
        ConfigError, match=r"data\.path.* holds a password, a user or a query"
    ) as caught:
        parse_config({"data": {"path": url}}, "atoll.toml")
    assert "hush" not in str(caught.value)


@pytest.mark.parametrize("path", ["a?b@c.tar", "s3://bucket/a?b.tar", "https://host/a@b.tar"])
def test_path_with_the_signs_of_a_query_is_a_path(path: str) -> None:
    assert DataSection(source="webdataset", path=path).path == path


def test_inspect_of_a_url_with_a_password_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as leaving:
        main(["inspect", "https://me:hush@host/a.tar"])
    assert leaving.value.code == 2
    told = capsys.readouterr().err
    assert "holds a password" in told
    assert "hush" not in told


def test_tars_by_url_are_named_by_their_paths_from_the_braces_on(
    tmp_path: Path, server: FaultyServer
) -> None:
    (data,) = tars(tmp_path, 1).values()
    server.files = {"deep/a/0.tar": data, "deep/b/0.tar": data}
    keys = [sample.key for sample in intake(f"{server.url}/deep/{{a,b}}/0.tar")]
    assert keys[0] == "a/0.tar/0000"
    assert keys[4] == "b/0.tar/0000"
