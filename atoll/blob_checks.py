"""What every blob store does alike: digests checked, and drivers' errors as the house's own."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

from atoll.errors import AtollError, BlobDamaged, BlobError, BlobExists, BlobMissing, StorageFull


def digest_file(path: Path) -> str:
    """sha256 (hex) of a file's bytes."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def verified(data: bytes, digest: str | None, name: str) -> bytes:
    """The data, if they have the digest; any will do for None. Raises: BlobDamaged."""
    if digest is not None:
        check(hashlib.sha256(data).hexdigest(), digest, name)
    return data


def check(found: str, expected: str, name: str) -> None:
    """Compare digests. Raises: BlobDamaged, naming what was read."""
    if found != expected:
        raise BlobDamaged(
            f"{name} is damaged: its digest is {found[:12]}…, expected {expected[:12]}…; "
            "restore it from a copy, or begin anew under another run.uri"
        )


def copied(cache: Path, digest: str, name: str, copy: Callable[[Path], None]) -> Path:
    """A verified copy in a cache; named by digest, so that one is never taken for another.

    Args:
        cache: folder of copies; made if it is not there.
        digest: sha256 (hex) the copy must have.
        name: what is copied, for errors.
        copy: writes the bytes to a path; raises as :meth:`BlobStore.download` does.

    Raises:
        BlobMissing: there is nothing to copy.
        BlobDamaged: the bytes have another digest.
        StorageFull: the cache has no space left.
    """
    target = cache / digest
    with writing(target):
        if target.exists() and digest_file(target) == digest:
            return target
        cache.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=cache) as folder:
            part = Path(folder) / "part"
            copy(part)
            check(digest_file(part), digest, name)
            part.replace(target)
    return target


def is_full(error: OSError) -> bool:
    """Whether a write failed for want of space, of quota, or of leave for a file so large."""
    return error.errno in {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}


@contextlib.contextmanager
def reading(name: Path | str) -> Iterator[None]:
    """Inside, what keeps a key from being read becomes one sentence."""
    try:
        yield
    except (FileNotFoundError, NotADirectoryError) as error:
        raise BlobMissing(
            f"{name} is missing; restore it from a copy, or begin anew under another run.uri"
        ) from error
    except Exception as error:  # drivers behind fsspec raise errors of their own libraries
        raise _blob_error(error, f"{name} could not be read") from error


@contextlib.contextmanager
def writing(name: Path | str, done: str = "written") -> Iterator[None]:
    """Inside, what keeps a key from being written, or ``done`` otherwise, becomes one sentence."""
    try:
        yield
    except AtollError:
        raise
    except Exception as error:  # see reading
        raise _blob_error(error, f"{name} could not be {done}") from error


def _blob_error(error: Exception, what: str) -> BlobError:
    if isinstance(error, OSError) and is_full(error):
        return StorageFull(
            f"{what}: no space or quota left ({error}); free some and run the same command again"
        )
    return BlobError(f"{what} ({error}); mend that and run the same command again")


def taken(name: Path | str) -> BlobExists:
    """The error of writing a key a second time."""
    return BlobExists(f"{name} is written already and stays; delete it first if it is not wanted")
