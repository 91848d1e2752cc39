"""Files of pretrained encoders: found here or on the hub, kept in the run, fetched from it.

What was encoded with a model's files is worth nothing without them, so a run keeps a copy: islands,
samplers and services need the run alone, and never the path or the hub id that it was made with.

::

    models/DIGEST16.json      manifest: name and sha256 of each file
    models/DIGEST16/NAME      the files
    models/named/HASH.json    which digest a name of the configuration stood for
"""

from __future__ import annotations

import contextlib
import json
import re
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open

from atoll import layout
from atoll.blob_checks import check, digest_file, writing
from atoll.blobs import BlobStore
from atoll.digests import digest_of
from atoll.errors import BadInput, BlobDamaged, BlobExists, BlobMissing

# Weights, configuration and tokenizers; of sentence-transformers also those of numbered folders.
_NAMES = ("*.safetensors", "*.json", "*.model", "vocab.txt", "merges.txt")
_WANTED = (*_NAMES, *(f"[0-9]_*/{name}" for name in _NAMES))
_PICKLED = ("*.bin", "*.pt", "*.pth", "*.ckpt")
# As find_model names files; no other name comes from a manifest, which others may have written.
_FILE = re.compile(r"([0-9]_[^/\\\0]*/)?[^/\\\0]*[^/\\\0.][^/\\\0]*")
_HUB_ID = re.compile(r"([\w.-]+(?:/[\w.-]+)?)((?:/[\w.-]+)*)")


@dataclass(frozen=True, slots=True)
class ModelFiles:
    """A model on this machine.

    Attributes:
        folder: where its files are.
        files: sha256 (hex) of each, by its name below the folder.
    """

    folder: Path
    files: dict[str, str]

    @property
    def digest(self) -> str:
        """sha256 (hex) of names and contents."""
        return digest_of(self.files)


def find_model(name: str, key: str, extra: str) -> ModelFiles:
    """A model's files, from a folder of this machine or from the hub.

    Args:
        name: a folder; or a hub id, after which a folder of the repository may follow, as in
            ``owner/pipeline/vae``.
        key: of the configuration, for errors.
        extra: of Atoll, which brings what fetches from the hub.

    Raises:
        BadInput: there is no such model, it has no weights but pickled ones, or their file is
            broken; names the key.
    """
    folder = Path(name).expanduser()
    if not folder.is_dir():
        folder = _from_hub(name, key, extra)
    wanted = {
        path.relative_to(folder).as_posix(): path for each in _WANTED for path in folder.glob(each)
    }
    if "config.json" not in wanted:
        raise BadInput(
            f"{key} = {name!r} has no config.json; give the folder of one model: of a pipeline, "
            "the one inside it that has this model"
        )
    if not any(each.endswith(".safetensors") for each in wanted):
        pickled = sorted(path.name for each in _PICKLED for path in folder.glob(each))
        told = (
            f" but {pickled[0]}, a pickle, which could run code and is never read"
            if pickled
            else ""
        )
        raise BadInput(
            f"{key} = {name!r} has no weights{told}; give a model with safetensors, as "
            "save_pretrained writes them"
        )
    config_in(folder, f"{key} = {name!r}")
    for path in wanted.values():
        if path.suffix == ".safetensors":
            _refuse_broken(path, f"{key} = {name!r}")
    return ModelFiles(folder, {each: digest_file(wanted[each]) for each in sorted(wanted)})


def config_in(folder: Path, named: str) -> dict[str, Any]:
    """What ``config.json`` of a model's folder says.

    Args:
        folder: of the model.
        named: how a sentence about it begins.

    Raises:
        BadInput: it cannot be read.
    """
    try:
        told = json.loads((folder / "config.json").read_bytes())
    except (ValueError, RecursionError, OSError) as error:
        raise BadInput(
            f"{named} has a config.json that cannot be read ({error}); fetch or write it again"
        ) from error
    if not isinstance(told, dict):
        raise BadInput(f"{named} has a config.json that tells nothing; fetch or write it again")
    return told


def _refuse_broken(path: Path, named: str) -> None:
    """Refuse a file of weights that is cut off, or none, by its header and size."""
    try:
        with safe_open(path, "numpy"):
            pass
    except (SafetensorError, OSError) as error:
        raise BadInput(
            f"{named} has a {path.name} that is cut off or no file of safetensors ({error}); "
            "fetch or write it again"
        ) from error


def keep_model(store: BlobStore, model: ModelFiles) -> str:
    """Keep a copy of a model in the run, unless it is there.

    Returns:
        The model's digest, by which it is fetched.

    Raises:
        StorageFull: the store has no space left.
    """
    manifest = layout.model_manifest(model.digest)
    if not store.exists(manifest):
        for name in model.files:
            # Somebody else may keep the same model at this moment.
            with contextlib.suppress(BlobExists):
                key = layout.model_file(model.digest, name)
                if not store.exists(key):
                    store.put_file(key, model.folder / name)
        store.publish(manifest, json.dumps(model.files, indent=1, sort_keys=True).encode())
    return model.digest


def kept_model(
    store: BlobStore,
    name: str,
    key: str,
    extra: str,
    refuse: Callable[[Mapping[str, str]], None] = lambda _: None,
) -> str:
    """The digest of the model that a name stands for, which is in the run from now on.

    A folder of this machine is looked at each time. Any other name stands for what it stood for
    when it was first met, so that machines without that folder, or without the hub, can take part.

    Args:
        store: of the run.
        name: as for :func:`find_model`.
        key: of the configuration, for errors.
        extra: likewise.
        refuse: raises BadInput for files, see :class:`ModelFiles`, that the run is not to keep.

    Raises:
        BadInput: the model cannot be used, see :func:`find_model`, or is refused.
        StorageFull: the store has no space left.
    """
    named = layout.model_name(name)
    if not Path(name).expanduser().is_dir():
        with contextlib.suppress(BlobMissing):
            digest: str = json.loads(store.get_bytes(named))["digest"]
            return digest
    model = find_model(name, key, extra)
    refuse(model.files)
    digest = keep_model(store, model)
    store.publish(named, json.dumps({"name": name, "digest": digest}).encode())
    return digest


def model_config(store: BlobStore, digest: str) -> Any:
    """What ``config.json`` of a model says that the run keeps. Raises: BlobMissing, BlobDamaged."""
    expected = _files(store, digest)["config.json"]
    return json.loads(store.get_bytes(layout.model_file(digest, "config.json"), expected))


def fetch_model(store: BlobStore, digest: str, cache: Path) -> Path:
    """A folder with the files of a model that the run keeps, each verified.

    Args:
        store: of the run.
        digest: of the model.
        cache: folder of this machine for copies, and for the folder itself.

    Raises:
        BlobMissing: the run does not keep it.
        BlobDamaged: a file is not what was kept.
        StorageFull: this machine has no space left.
    """
    folder = cache.absolute() / "models" / digest[:16]
    for name, expected in _files(store, digest).items():
        path = store.fetch(layout.model_file(digest, name), expected, cache / "model-files")
        _link(folder / name, path.absolute())
    return folder


def _files(store: BlobStore, digest: str) -> dict[str, str]:
    manifest = layout.model_manifest(digest)
    files: dict[str, str] = json.loads(store.get_bytes(manifest))
    check(digest_of(files), digest, manifest)
    if bad := [name for name in files if not _FILE.fullmatch(name)]:
        raise BlobDamaged(f"{manifest} names {bad[0]!r}, which is no file of a model's own folder")
    return files


def _link(link: Path, path: Path) -> None:
    """Point to a file, in place of where the link pointed when the run lay elsewhere."""
    with writing(link):
        if link.is_symlink() and link.readlink() == path:
            return
        link.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=link.parent) as beside:
            fresh = Path(beside) / "link"
            fresh.symlink_to(path)
            fresh.replace(link)


def _from_hub(name: str, key: str, extra: str) -> Path:
    found = _HUB_ID.fullmatch(name)
    neither = f"{key} = {name!r} is no folder here, nor an id of the hub; give either"
    if found is None:
        raise BadInput(neither)
    repository, within = found[1], found[2].strip("/")
    try:
        from huggingface_hub import snapshot_download  # noqa: PLC0415 - optional
        from huggingface_hub.errors import HFValidationError  # noqa: PLC0415 - optional

        patterns = [f"{within}/{each}" if within else each for each in _NAMES]
        # A star of the hub's means slashes too: a repository may hold other models in its folders.
        ignored = [f"{within}/*/*"] if within else ["*/*/*", "[!0-9]*/*"]
        folder = snapshot_download(repository, allow_patterns=patterns, ignore_patterns=ignored)
    except ModuleNotFoundError as error:
        raise BadInput(
            f"{key} = {name!r} is no folder here, and to fetch it from the hub another library is "
            f"needed; run `pip install 'atoll[{extra}]'`, or give a folder"
        ) from error
    except HFValidationError as error:
        raise BadInput(neither) from error
    except (OSError, ValueError) as error:
        reason = (str(error).strip() or type(error).__name__).splitlines()[0].rstrip(".")
        raise BadInput(
            f"{key} = {name!r} is no folder here, and cannot be had from the hub ({reason}); give "
            "a folder with config.json and safetensors, or an id that this machine can reach"
        ) from error
    path = Path(folder) / within
    if not path.is_dir():
        raise BadInput(f"{key} = {name!r}: {repository} has no folder {within}; give one it has")
    return path
