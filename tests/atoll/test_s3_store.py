"""What only S3 can show: parts, lost answers, and an endpoint that does not do as it should."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
import threading
import time
import traceback
from pathlib import Path
from typing import Any

import boto3
import pytest
from werkzeug.wrappers import Response

from atoll.blobs import BlobStore, open_store
from atoll.errors import BadInput, BlobError, BlobExists, StorageFull
from atoll.s3_upload import PART_BYTES

KEY = "deep/large"
UNAVAILABLE = 503
REFUSAL = "<Error><Code>{}</Code><Message>no</Message></Error>"


@pytest.fixture
def store(bucket: str) -> BlobStore:
    return open_store(f"{bucket}/run")


@pytest.fixture(scope="module")
def large(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file of five parts. Read it, change nothing."""
    path = tmp_path_factory.mktemp("s3") / "large"
    path.write_bytes(os.urandom(4 * PART_BYTES + 1000))
    return path


def uploads(bucket: str) -> list[dict[str, Any]]:
    """What is begun in a bucket and not finished."""
    name = bucket.removeprefix("s3://")
    return boto3.client("s3").list_multipart_uploads(Bucket=name).get("Uploads", [])


def digest_of(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def leave_unfinished(s3: Any, store: BlobStore, path: Path, arriving: set[int]) -> None:
    """Fail in the middle of an upload, of which these parts arrive."""

    def interfere(asked: str, answer: Any) -> Response:
        number = asked.partition("partNumber=")[2]
        return answer() if not number or int(number) in arriving else Response(status=400)

    s3.interfere = interfere
    with pytest.raises(BlobError):
        store.put_file(KEY, path)
    s3.reset()


def test_large_file_goes_in_parts_and_comes_back_whole(
    s3: Any, bucket: str, store: BlobStore, large: Path, tmp_path: Path
) -> None:
    blob = store.put_file(KEY, large)
    assert (blob.key, blob.digest, blob.size_bytes) == (
        KEY,
        digest_of(large),
        4 * PART_BYTES + 1000,
    )
    assert s3.parts() == [1, 2, 3, 4, 5]
    assert store.fetch(KEY, blob.digest, tmp_path).read_bytes() == large.read_bytes()
    assert uploads(bucket) == []


UPLOAD = """
import sys
from pathlib import Path
from atoll.blobs import open_store

open_store(sys.argv[1]).put_file(sys.argv[2], Path(sys.argv[3]))
"""


def test_upload_whose_process_was_killed_sends_only_what_is_missing(
    s3: Any, bucket: str, store: BlobStore, large: Path
) -> None:
    arrived, killed = [], threading.Event()

    def interfere(asked: str, answer: Any) -> Response:
        number = asked.partition("partNumber=")[2]
        if number in {"1", "3"} or not number:
            answered = answer()
            arrived.append(number)
            return answered
        killed.wait(60)
        return Response(status=UNAVAILABLE)

    s3.interfere = interfere
    writer = subprocess.Popen([sys.executable, "-c", UPLOAD, f"{bucket}/run", KEY, str(large)])
    give_up_at = time.monotonic() + 60
    while not {"1", "3"} <= set(arrived):
        assert time.monotonic() < give_up_at
        time.sleep(0.01)
    writer.kill()
    assert writer.wait() == -9
    killed.set()
    assert not store.exists(KEY)
    s3.reset()

    blob = store.put_file(KEY, large)
    assert s3.parts() == [2, 4, 5]
    assert blob.digest == digest_of(large)
    assert store.get_bytes(KEY, blob.digest) == large.read_bytes()
    assert uploads(bucket) == []


def test_unfinished_upload_of_other_bytes_is_left_alone(
    s3: Any, bucket: str, store: BlobStore, large: Path, tmp_path: Path
) -> None:
    leave_unfinished(s3, store, large, {1, 2})
    (tmp_path / "other").write_bytes(os.urandom(2 * PART_BYTES))
    blob = store.put_file(KEY, tmp_path / "other")
    assert s3.parts() == [1, 2]
    assert store.get_bytes(KEY, blob.digest) == (tmp_path / "other").read_bytes()
    assert len(uploads(bucket)) == 1


def test_sweep_frees_the_parts_of_old_uploads_alone(
    s3: Any, bucket: str, store: BlobStore, large: Path
) -> None:
    leave_unfinished(s3, store, large, {1, 5})
    assert store.sweep(older_than_s=3600) == 0
    assert len(uploads(bucket)) == 1
    assert open_store(f"{bucket}/other").sweep(older_than_s=-60) == 0
    assert store.sweep(older_than_s=-60) == PART_BYTES + 1000
    assert uploads(bucket) == []


def test_large_file_for_a_taken_key_is_refused_before_it_is_sent(
    s3: Any, store: BlobStore, large: Path
) -> None:
    store.put_bytes(KEY, b"first")
    with pytest.raises(BlobExists):
        store.put_file(KEY, large)
    assert s3.parts() == []


def test_upload_that_comes_second_is_refused_and_leaves_nothing(
    s3: Any, bucket: str, store: BlobStore, large: Path
) -> None:
    def interfere(asked: str, answer: Any) -> Response:
        if asked.startswith("POST") and "uploadId" in asked:
            store.put_bytes(KEY, b"first")
        return answer()

    s3.interfere = interfere
    with pytest.raises(BlobExists, match="delete it first"):
        store.put_file(KEY, large)
    assert store.get_bytes(KEY) == b"first"
    assert uploads(bucket) == []


def test_upload_that_another_finished_is_taken(s3: Any, store: BlobStore, large: Path) -> None:
    def interfere(asked: str, answer: Any) -> Response:
        if not (asked.startswith("POST") and "uploadId" in asked):
            return answer()
        answer()
        return Response(REFUSAL.format("NoSuchUpload"), status=404)

    s3.interfere = interfere
    with pytest.raises(BlobExists):
        store.put_file(KEY, large)
    assert store.get_bytes(KEY) == large.read_bytes()


def test_file_that_changes_while_it_is_sent_is_not_stored(
    s3: Any, store: BlobStore, large: Path, tmp_path: Path
) -> None:
    path = tmp_path / "growing"
    path.write_bytes(large.read_bytes())

    def interfere(asked: str, answer: Any) -> Response:
        if asked.startswith("POST"):
            path.write_bytes(bytes(path.stat().st_size))
        return answer()

    s3.interfere = interfere
    with pytest.raises(BlobError, match="changed while it was read"):
        store.put_file(KEY, path)
    assert not store.exists(KEY)


@pytest.mark.parametrize("size", [1000, 2 * PART_BYTES], ids=["whole", "in parts"])
def test_write_whose_answer_was_lost_is_a_success(
    s3: Any, store: BlobStore, tmp_path: Path, size: int
) -> None:
    (tmp_path / "file").write_bytes(os.urandom(size))
    lost: list[str] = []

    def interfere(asked: str, answer: Any) -> Response:
        answered = answer()
        last = asked.startswith("POST") and "uploadId" in asked
        if not lost and (last or ("partNumber" not in asked and asked.startswith("PUT"))):
            lost.append(asked)
            return Response(status=UNAVAILABLE)
        return answered

    s3.interfere = interfere
    blob = store.put_file(KEY, tmp_path / "file")
    assert len(lost) == 1
    assert store.get_bytes(KEY, blob.digest) == (tmp_path / "file").read_bytes()


def test_answer_lost_by_the_first_does_not_let_the_second_write(s3: Any, store: BlobStore) -> None:
    store.put_bytes("k", b"first")
    tries: list[str] = []

    def interfere(asked: str, answer: Any) -> Response:
        tries.append(asked)
        return Response(status=UNAVAILABLE) if len(tries) == 1 else answer()

    s3.interfere = interfere
    with pytest.raises(BlobExists):
        store.put_bytes("k", b"second")
    assert store.get_bytes("k") == b"first"


def test_request_that_fails_once_is_tried_again(s3: Any, store: BlobStore) -> None:
    store.put_bytes("k", b"bytes")
    tries: list[str] = []

    def interfere(asked: str, answer: Any) -> Response:
        tries.append(asked)
        return Response(status=UNAVAILABLE) if len(tries) == 1 else answer()

    s3.interfere = interfere
    assert store.get_bytes("k") == b"bytes"
    assert len(tries) == 2


def test_endpoint_that_refuses_connections_is_named_in_a_sentence_without_secrets(
    bucket: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:1")
    with pytest.raises(BlobError) as caught:
        open_store(f"{bucket}/run").put_bytes("k", b"")
    assert str(caught.value) == (
        f"{bucket}/run/k could not be written (EndpointConnectionError: no answer from "
        "http://127.0.0.1:1; is it up, and is AWS_ENDPOINT_URL right?); mend that and run the same "
        "command again"
    )
    assert "never-shown" not in "".join(traceback.format_exception(caught.value))


def test_missing_bucket_is_not_an_empty_one(s3: Any) -> None:
    with pytest.raises(BlobError, match="NoSuchBucket"):
        open_store("s3://no-such-bucket/run").exists("k")


def test_missing_credentials_are_asked_for(bucket: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    with pytest.raises(BlobError, match="no AWS credentials were found; set AWS_ACCESS_KEY_ID"):
        open_store(bucket).list("")


def test_credentials_that_do_not_open_the_bucket_are_refused(s3: Any, store: BlobStore) -> None:
    s3.interfere = lambda *_: Response(REFUSAL.format("AccessDenied"), status=403)
    with pytest.raises(BlobError, match="the credentials do not open it: AccessDenied"):
        store.get_bytes("k")


def test_bucket_over_its_quota_is_full(s3: Any, store: BlobStore) -> None:
    s3.interfere = lambda *_: Response(REFUSAL.format("QuotaExceeded"), status=403)
    with pytest.raises(StorageFull, match="no space or quota left"):
        store.put_bytes("k", b"")


@pytest.mark.parametrize("url", ["s3://", "s3:///run", "s3://key:secret@bucket/run"])
def test_url_without_a_bucket_or_with_credentials_is_refused(s3: Any, url: str) -> None:
    with pytest.raises(BadInput, match="s3://bucket/prefix") as caught:
        open_store(url)
    assert "secret" not in str(caught.value)


def test_endpoint_that_holds_a_password_is_refused(
    s3: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", s3.url.replace("//", "//me:secret@"))
    with pytest.raises(BadInput, match="AWS_ENDPOINT_URL holds") as caught:
        open_store("s3://bucket")
    assert "secret" not in str(caught.value)


def test_configuration_of_aws_that_cannot_be_used_is_bad_input(
    s3: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_PROFILE", "nobody")
    with pytest.raises(BadInput, match="nobody"):
        open_store("s3://bucket")


WITHOUT_BOTO3 = """
import sys
from atoll.blobs import open_store
from atoll.errors import BadInput

sys.modules["boto3"] = None
try:
    open_store("s3://bucket/run")
except BadInput as error:
    print(error)
"""


def test_missing_extra_is_named() -> None:
    command = [sys.executable, "-c", WITHOUT_BOTO3]
    said = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert said.startswith("an s3:// URL needs boto3; run `pip install 'atoll[s3]'`")


# A file may grow to a megabyte: to a process the same as a disk that is full, without being root.
FULL_CACHE = """
import resource, sys
from pathlib import Path
from atoll.blobs import open_store
from atoll.errors import StorageFull

resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 20, 1 << 20))
try:
    open_store(sys.argv[1]).fetch("k", sys.argv[2], Path(sys.argv[3]))
except StorageFull as error:
    print(error)
"""


def test_fetch_to_a_full_disk_says_so_and_leaves_nothing(
    bucket: str, store: BlobStore, tmp_path: Path
) -> None:
    blob = store.put_bytes("k", bytes(2 << 20))
    command = [sys.executable, "-c", FULL_CACHE, f"{bucket}/run", blob.digest, str(tmp_path)]
    said = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert "no space or quota left" in said
    assert list(tmp_path.iterdir()) == []
