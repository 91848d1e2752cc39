import io
import json
import tarfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from atoll.errors import DataError
from atoll.sections import DataSection
from partition.intake import Intake
from partition.sources import Unreadable, open_source
from partition.sources.tars import Members
from tests.partition.tars import image, png, tar_members, write_tar, zero_header


def intake(**settings: Any) -> Intake:
    data = DataSection(**settings)
    return Intake(open_source(data), data)


def names_of(skipped: list[Unreadable]) -> list[str]:
    return [item.name for item in skipped]


def test_webdataset_braces_read_tar_after_tar(tmp_path: Path) -> None:
    write_tar(tmp_path / "s-000.tar", tar_members(3))
    write_tar(tmp_path / "s-001.tar", tar_members(2, first=3))
    by_braces = list(intake(source="webdataset", path=f"{tmp_path}/s-{{000..001}}.tar"))
    by_folder = list(intake(source="webdataset", path=str(tmp_path)))
    assert [s.key for s in by_braces] == [s.key for s in by_folder]
    assert [s.label for s in by_braces] == [0, 1, 2, 0, 1]
    assert by_braces[4].caption == "number 4"


@pytest.mark.parametrize(
    ("compression", "name"), [("gz", "s.tar.gz"), ("gz", "s.tgz"), ("xz", "s.tar.xz")]
)
def test_webdataset_compressed_tar_is_read_and_its_cut_noticed(
    tmp_path: Path, compression: str, name: str
) -> None:
    path = tmp_path / name
    write_tar(path, tar_members(4), compression)
    assert [s.label for s in intake(source="webdataset", path=str(tmp_path))] == [0, 1, 2, 0]
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(DataError, match=rf"{name} cannot be used: it is cut off"):
        list(intake(source="webdataset", path=str(path)))


def test_webdataset_tar_of_another_compression_is_refused_in_a_line(tmp_path: Path) -> None:
    (tmp_path / "s.tar").write_bytes(b"\x28\xb5\x2f\xfd" + bytes(2000))
    with pytest.raises(DataError, match="unknown way") as caught:
        list(intake(source="webdataset", path=str(tmp_path / "s.tar")))
    assert "\n" not in str(caught.value)


def test_webdataset_sample_without_a_readable_image_is_named_not_passed_over(
    tmp_path: Path,
) -> None:
    members = {"1.gif": b"gif", "1.cls": b"1", "2.png": png(image()), "2.cls": b"2"}
    beside = {"readme.txt": b"hi", "LICENSE": b"free", "._2.png": b"mac", ".index/.x.npy": b""}
    write_tar(tmp_path / "s.tar", {**members, **beside})
    with pytest.raises(DataError, match=r"s\.tar/1 cannot be used: it holds .cls, .gif, and none"):
        list(intake(source="webdataset", path=str(tmp_path / "s.tar")))
    kept = intake(source="webdataset", path=str(tmp_path / "s.tar"), on_error="skip")
    assert [s.key for s in kept] == ["s.tar/2"]
    assert names_of(kept.skipped) == ["s.tar/1"]


def test_webdataset_label_apart_from_its_image_is_named_not_passed_over(tmp_path: Path) -> None:
    members = {"1.png": png(image()), "2.png": png(image())}
    apart = {"1.cls": b"1", "2.txt": b"two", "a/3.json": b'{"label": 3}'}
    of_all = {"00000_stats.json": b"{}", "README.txt": b"hi", "names": b"a b c"}
    write_tar(tmp_path / "s.tar", {**members, **apart, **of_all})
    with pytest.raises(DataError, match=r"s\.tar/1 cannot be used: it holds .cls, and none of"):
        list(intake(source="webdataset", path=str(tmp_path / "s.tar")))
    kept = intake(source="webdataset", path=str(tmp_path / "s.tar"), on_error="skip")
    assert [s.label for s in kept] == [None, None]
    assert names_of(kept.skipped) == ["s.tar/1", "s.tar/2", "s.tar/a/3"]


@pytest.mark.parametrize("pattern", ["", "/{a,b}/0.tar"])
def test_webdataset_tars_of_one_name_are_told_apart_by_their_folders(
    tmp_path: Path, pattern: str
) -> None:
    for folder in "ab":
        (tmp_path / folder).mkdir()
        write_tar(tmp_path / folder / "0.tar", {"1.png": png(image()), "2.png": b""})
    kept = intake(source="webdataset", path=f"{tmp_path}{pattern}", on_error="skip")
    assert [s.key for s in kept] == ["a/0.tar/1", "b/0.tar/1"]
    assert names_of(kept.skipped) == ["a/0.tar/2", "b/0.tar/2"]


def test_samples_of_one_name_that_are_left_out_all_count(tmp_path: Path) -> None:
    write_tar(tmp_path / "s.tar", {"1.png": b"", "2.png": png(image()), "1.cls": b"1"})
    kept = intake(source="webdataset", path=str(tmp_path), on_error="skip")
    assert len(list(kept)) == len(list(kept)) == 1
    assert names_of(kept.skipped) == ["s.tar/1", "s.tar/1"]


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE])
@pytest.mark.parametrize("target", ["gone.png", "1.png", "folder"])
def test_webdataset_link_to_no_file_is_named_and_one_to_a_file_followed(
    tmp_path: Path, kind: bytes, target: str
) -> None:
    with tarfile.open(tmp_path / "s.tar", "w") as tar:
        whole = tarfile.TarInfo("0.png")
        whole.size = len(data := png(image()))
        tar.addfile(whole, io.BytesIO(data))
        folder = tarfile.TarInfo("folder")
        folder.type = tarfile.DIRTYPE
        tar.addfile(folder)
        for name, leads_to in (("1.png", target), ("2.png", "0.png")):
            link = tarfile.TarInfo(name)
            link.type, link.linkname = kind, leads_to
            tar.addfile(link)
    with pytest.raises(DataError, match=r"s\.tar/1 cannot be used: its \.png is a link to no file"):
        list(intake(source="webdataset", path=str(tmp_path / "s.tar")))
    kept = intake(source="webdataset", path=str(tmp_path / "s.tar"), on_error="skip")
    first, second = kept
    assert (first.key, second.key) == ("s.tar/0", "s.tar/2")
    assert np.array_equal(first.image, second.image)
    assert names_of(kept.skipped) == ["s.tar/1"]


@pytest.mark.parametrize(
    ("suffix", "data", "told"),
    [
        ("cls", b"three", "its .cls is no class number"),
        ("txt", b"\xff", "its .txt is no text in UTF-8"),
        ("json", b"{", "its .json is no JSON object"),
        ("json", b"[]", "its .json is no JSON object"),
        ("json", b'{"label": "x"}', "its .json has a label that is no integer or a caption no"),
    ],
)
def test_webdataset_file_beside_an_image_that_cannot_be_read_is_named(
    tmp_path: Path, suffix: str, data: bytes, told: str
) -> None:
    write_tar(tmp_path / "s.tar", {"1.png": png(image()), f"1.{suffix}": data})
    kept = intake(source="webdataset", path=str(tmp_path / "s.tar"), on_error="skip")
    assert list(kept) == []
    assert kept.skipped[0].reason.startswith(told)


def test_webdataset_json_of_brackets_in_brackets_is_named(tmp_path: Path) -> None:
    deep = b"[" * 100_000
    write_tar(tmp_path / "s.tar", {"1.png": png(image()), "1.json": deep, "2.json": deep})
    kept = intake(source="webdataset", path=str(tmp_path / "s.tar"), on_error="skip")
    assert list(kept) == []
    assert [each.reason.partition(",")[0] for each in kept.skipped] == [
        "its .json is no JSON object",
        "it holds .json",
    ]


def test_webdataset_file_too_large_to_be_an_image_is_named_and_one_that_nobody_reads_is_not_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("partition.sources.tars._MOST_BYTES", 2000)
    members = {"0.png": bytes(2001), "1.png": png(image()), "1.npy": bytes(2001)}
    write_tar(tmp_path / "s.tar", members)
    kept = intake(source="webdataset", path=str(tmp_path / "s.tar"), on_error="skip")
    assert [sample.key for sample in kept] == ["s.tar/1"]
    assert [each.reason for each in kept.skipped] == ["its .png has more than 512 MiB"]
    contents = {suffix: data for _, suffix, data in Members(tmp_path / "s.tar", {"png"})}
    assert contents["npy"] == b""


@pytest.mark.parametrize("kind", [tarfile.PAX_FORMAT, tarfile.GNU_FORMAT])
def test_webdataset_tar_with_a_name_of_megabytes_is_kept_up_to_there(
    tmp_path: Path, kind: int
) -> None:
    path, data = tmp_path / "s.tar", png(image())
    with tarfile.open(path, "w", format=kind) as tar:
        for name in ("0.png", f"{'1' * 2_000_000}.png", "2.png"):
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    kept = intake(source="webdataset", path=str(path), on_error="skip")
    list(kept)
    (broken,) = kept.skipped
    assert broken.reason.endswith("(a header is too large)")


@pytest.mark.parametrize("label", [10**6, 1_234_567_890])
def test_label_that_is_no_number_of_a_class_is_refused(tmp_path: Path, label: int) -> None:
    write_tar(tmp_path / "s.tar", {"1.png": png(image()), "1.cls": str(label).encode()})
    with pytest.raises(DataError, match=rf"s\.tar/1 has label {label}; .* below 1,000,000;"):
        list(intake(source="webdataset", path=str(tmp_path / "s.tar")))


def test_webdataset_json_gives_label_and_caption(tmp_path: Path) -> None:
    about = json.dumps({"label": 7, "caption": "seven"}).encode()
    write_tar(tmp_path / "s.tar", {"a/x.jpg": png(image()), "a/x.json": about, "a/readme": b"hi"})
    (sample,) = intake(source="webdataset", path=str(tmp_path / "s.tar"))
    assert (sample.key, sample.label, sample.caption) == ("s.tar/a/x", 7, "seven")


def test_webdataset_missing_tar_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"s-001\.tar does not exist"):
        intake(source="webdataset", path=f"{tmp_path}/s-{{001..002}}.tar")
    with pytest.raises(DataError, match=r"holds no \.tar files"):
        intake(source="webdataset", path=str(tmp_path))


@pytest.mark.parametrize(
    ("name", "data"), [("cls", b"cat"), ("json", b"{"), ("json", b'{"label": "cat"}')]
)
def test_webdataset_unreadable_label_is_refused_by_name(
    tmp_path: Path, name: str, data: bytes
) -> None:
    write_tar(tmp_path / "s.tar", {"x.png": png(image()), f"x.{name}": data})
    with pytest.raises(DataError, match=r"s\.tar/x cannot be used"):
        list(intake(source="webdataset", path=str(tmp_path / "s.tar")))


# Where nothing of the third sample is left, the second might have had more parts and is given up.
@pytest.mark.parametrize(
    ("cut_bytes", "kept_samples"), [(0, 1), (300, 1), (512, 1), (700, 2), (1100, 2)]
)
def test_webdataset_truncated_tar_is_refused_or_kept_up_to_the_cut(
    tmp_path: Path, cut_bytes: int, kept_samples: int
) -> None:
    path = tmp_path / "s.tar"
    write_tar(path, tar_members(4))
    with tarfile.open(path) as tar:
        third = tar.getmember("0002.png").offset
    path.write_bytes(path.read_bytes()[: third + cut_bytes])
    with pytest.raises(DataError, match=r"s\.tar cannot be used: it is cut off"):
        list(intake(source="webdataset", path=str(path)))
    kept = intake(source="webdataset", path=str(path), on_error="skip")
    assert [s.caption for s in kept] == [f"number {i}" for i in range(kept_samples)]
    assert names_of(kept.skipped) == [str(path)]


def test_webdataset_tar_with_a_header_lost_in_its_middle_is_refused_or_kept_up_to_there(
    tmp_path: Path,
) -> None:
    path = tmp_path / "s.tar"
    write_tar(path, tar_members(4))
    zero_header(path, "0002.png")
    with pytest.raises(DataError, match=r"s\.tar cannot be used: it is cut off or damaged"):
        list(intake(source="webdataset", path=str(path)))
    kept = intake(source="webdataset", path=str(path), on_error="skip")
    assert [s.caption for s in kept] == ["number 0"]
    assert names_of(kept.skipped) == [str(path)]


def test_webdataset_some_labels_missing_is_refused(tmp_path: Path) -> None:
    write_tar(tmp_path / "s.tar", {"a.png": png(image()), "b.png": png(image()), "b.cls": b"1"})
    with pytest.raises(DataError, match="has a label and the other none"):
        list(intake(source="webdataset", path=str(tmp_path / "s.tar")))


def test_webdataset_pattern_with_half_a_brace_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"data\.path: .*brace without its other half"):
        open_source(DataSection(source="webdataset", path=str(tmp_path / "shard-{000..")))


# --- img2dataset ---------------------------------------------------------------------------------


def downloaded(number: int, **about: object) -> dict[str, bytes]:
    """What img2dataset writes of one row: here of three, the last of which failed."""
    key = f"{number:09d}"
    told = {
        "caption": f"number {number}",
        "url": "http://a/b.jpg",
        "key": key,
        "status": "success",
        "error_message": None,
        "width": 6,
        "height": 6,
        "exif": "{}",
    } | about
    members = {f"{key}.txt": str(told["caption"] or "").encode()}
    if told["status"] == "success":
        members[f"{key}.jpg"] = png(image())
    return {**members, f"{key}.json": json.dumps(told).encode()}


FAILED = {"status": "failed_to_download", "error_message": "HTTP Error 404: Not Found"}


def test_img2dataset_tars_are_read_as_they_are(tmp_path: Path) -> None:
    write_tar(tmp_path / "00000.tar", {**downloaded(0), **downloaded(1, caption=None)})
    (tmp_path / "00000.parquet").write_bytes(b"PAR1")
    (tmp_path / "00000_stats.json").write_text("{}")
    got = intake(source="webdataset", path=str(tmp_path))
    assert [(s.key, s.label, s.caption) for s in got] == [
        ("00000.tar/000000000", None, "number 0"),
        ("00000.tar/000000001", None, ""),
    ]


def test_img2dataset_failed_download_is_named_not_passed_over(tmp_path: Path) -> None:
    write_tar(tmp_path / "00000.tar", {**downloaded(0), **downloaded(1, **FAILED), **downloaded(2)})
    kept = intake(source="webdataset", path=str(tmp_path), on_error="skip")
    assert [s.caption for s in kept] == ["number 0", "number 2"]
    assert kept.skipped == [
        Unreadable(
            "00000.tar/000000001", "it has no image (failed_to_download, HTTP Error 404: Not Found)"
        )
    ]


def test_img2dataset_files_are_one_set_without_classes(tmp_path: Path) -> None:
    for folder, number in (("00000", 0), ("00000", 1), ("00001", 10)):
        (tmp_path / folder).mkdir(exist_ok=True)
        for name, data in downloaded(number).items():
            (tmp_path / folder / name).write_bytes(data)
    (tmp_path / "00000.parquet").write_bytes(b"PAR1")
    (tmp_path / "00000_stats.json").write_text("{}")  # the second folder is not finished yet
    source = open_source(data := DataSection(source="folder", path=str(tmp_path)))
    assert source.class_names == ()
    assert [(s.key, s.label, s.caption) for s in Intake(source, data)] == [
        ("00000/000000000.jpg", None, "number 0"),
        ("00000/000000001.jpg", None, "number 1"),
        ("00001/000000010.jpg", None, "number 10"),
    ]


# --- captions ------------------------------------------------------------------------------------


def test_caption_of_blanks_alone_is_none_in_json_too(tmp_path: Path) -> None:
    about = [json.dumps({"caption": caption}).encode() for caption in (" a boat\n", " \n ")]
    members = {
        f"{at}.{suffix}": data
        for at, told in enumerate(about)
        for suffix, data in (("png", png(image())), ("json", told))
    }
    write_tar(tmp_path / "s.tar", members)
    got = intake(source="webdataset", path=str(tmp_path / "s.tar"))
    assert [sample.caption for sample in got] == ["a boat", ""]
    assert got.num_without_caption == 1


@pytest.mark.parametrize("captions", [("", "a boat"), (None, "a boat"), ("a boat", " ")])
def test_sample_without_a_caption_where_captions_are_learnt_from_is_refused_or_skipped(
    tmp_path: Path, captions: tuple[str | None, ...]
) -> None:
    members = [downloaded(number, caption=caption) for number, caption in enumerate(captions)]
    write_tar(tmp_path / "s.tar", members[0] | members[1])
    missing = f"s.tar/{captions.index('a boat') ^ 1:09d}"
    data = DataSection(source="webdataset", path=str(tmp_path))
    with pytest.raises(DataError, match=rf"{missing} has no caption, and others have: .*skip"):
        list(Intake(open_source(data), data, needs_captions=True))
    skipping = data.model_copy(update={"on_error": "skip"})
    kept = Intake(open_source(data), skipping, needs_captions=True)
    assert [s.caption for s in kept] == ["a boat"]
    assert kept.skipped == [Unreadable(missing, "it has no caption")]
    assert len(list(Intake(open_source(data), data))) == 2


def test_samples_that_all_lack_a_caption_are_left_to_who_knows_the_key(tmp_path: Path) -> None:
    write_tar(tmp_path / "s.tar", downloaded(0, caption=None))
    data = DataSection(source="webdataset", path=str(tmp_path))
    got = Intake(open_source(data), data, needs_captions=True)
    assert len(list(got)) == 1
    assert not got.has_captions
    skipping = data.model_copy(update={"on_error": "skip"})
    with pytest.raises(DataError, match=r"1 were left out, as s\.tar/000000000: it has no caption"):
        _ = Intake(open_source(data), skipping, needs_captions=True).shape
