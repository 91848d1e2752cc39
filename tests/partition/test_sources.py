import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from pydantic import ValidationError

from atoll.errors import DataError
from atoll.sections import DataSection
from partition.intake import Intake
from partition.sources import Unreadable, open_source
from tests.partition.tars import image, png, write_tar


def intake(**settings: Any) -> Intake:
    data = DataSection(**settings)
    return Intake(open_source(data), data)


def names_of(skipped: list[Unreadable]) -> list[str]:
    return [item.name for item in skipped]


def test_random_crops_are_a_function_of_seed_and_sample(tmp_path: Path) -> None:
    wide = np.repeat(np.arange(0, 250, 5, dtype=np.uint8)[None], 4, axis=0)
    np.savez(tmp_path / "wide.npz", images=np.stack([wide] * 40))
    data = DataSection(
        source="npz", path=str(tmp_path / "wide.npz"), labels=None, size=4, crop="random"
    )

    def begins(seed: int) -> list[int]:
        samples = Intake(open_source(data), data, seed=seed)
        return [int(sample.image[0, 0, 0]) // 5 for sample in samples]

    assert begins(0) == begins(0) != begins(1)
    assert all(0 <= begin <= 46 for begin in begins(0))
    assert len(set(begins(0))) > 20
    assert np.mean(begins(0)) == pytest.approx(23, abs=4 * 46 / np.sqrt(12 * 40))


def test_random_crop_without_a_size_is_refused_by_key() -> None:
    with pytest.raises(ValidationError, match=r"set data\.size, or crop to"):
        DataSection(crop="random")


def test_digits_are_all_there_and_spread_over_the_range() -> None:
    samples = list(intake(source="digits"))
    assert len(samples) == 1797
    assert samples[0].image.shape == (8, 8, 1)
    assert {s.label for s in samples} == set(range(10))
    assert max(s.image.max() for s in samples) == 255


def test_digits_iterated_again_are_the_same() -> None:
    digits = intake(source="digits")
    first, second = next(iter(digits)), next(iter(digits))
    assert first.key == second.key
    assert np.array_equal(first.image, second.image)


def test_source_without_path_names_the_key() -> None:
    with pytest.raises(DataError, match=r"data\.path is missing"):
        open_source(DataSection(source="npz"))


# --- folder --------------------------------------------------------------------------------------


def test_folder_of_classes_gives_labels_in_order_of_names(tmp_path: Path) -> None:
    for name in ("b/2.png", "a/1.png", "a/deeper/0.jpg"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(image()).save(tmp_path / name)
    (tmp_path / "a" / "notes.md").write_text("not an image")
    data = DataSection(source="folder", path=str(tmp_path))
    source = open_source(data)
    assert [(s.key, s.label) for s in Intake(source, data)] == [
        ("a/1.png", 0),
        ("a/deeper/0.jpg", 0),
        ("b/2.png", 1),
    ]
    assert source.class_names == ("a", "b")


def test_folder_with_links_back_to_folders_above_is_read_once(tmp_path: Path) -> None:
    (tmp_path / "a" / "deep").mkdir(parents=True)
    (tmp_path / "b").mkdir()
    (tmp_path / "a" / "deep" / "1.png").write_bytes(png(image()))
    (tmp_path / "a" / "deep" / "again").symlink_to(tmp_path / "a")
    (tmp_path / "b" / "same").symlink_to(tmp_path / "a" / "deep")  # no loop: read again
    keys = [sample.key for sample in intake(source="folder", path=str(tmp_path))]
    assert keys == ["a/deep/1.png", "b/same/1.png"]


def test_folder_images_of_other_kinds_are_named_not_passed_over(tmp_path: Path) -> None:
    (tmp_path / "1.png").write_bytes(png(image()))
    Image.fromarray(image()).save(tmp_path / "2.gif")
    Image.fromarray(image()).save(tmp_path / "3.TIF")
    for name in ("1.txt", "1.json", "about.md", ".hidden.gif"):
        (tmp_path / name).write_text("beside")
    with pytest.raises(DataError, match=r"2\.gif cannot be used: its kind is not read, only .jpeg"):
        list(intake(source="folder", path=str(tmp_path)))
    kept = intake(source="folder", path=str(tmp_path), on_error="skip")
    assert [s.key for s in kept] == ["1.png"]
    assert [Path(name).name for name in names_of(kept.skipped)] == ["2.gif", "3.TIF"]


def test_folder_with_texts_gives_captions(tmp_path: Path) -> None:
    pixels = image()
    (tmp_path / "1.png").write_bytes(png(pixels))
    (tmp_path / "1.txt").write_text("a red kite\n")
    (tmp_path / "2.png").write_bytes(png(pixels))
    got = intake(source="folder", path=str(tmp_path))
    samples = list(got)
    assert [(s.caption, s.label) for s in samples] == [("a red kite", None), (None, None)]
    assert np.array_equal(samples[0].image, pixels)
    assert got.has_captions


@pytest.mark.parametrize(
    ("told", "caption"),
    [
        (b'{"caption": " a red kite ", "label": "no number"}', "a red kite"),
        (b'{"shapes": []}', None),
        (b"[1, 2]", None),
        (b'{"caption": null}', None),
    ],
)
def test_folder_with_json_gives_its_captions_where_there_is_no_text(
    tmp_path: Path, told: bytes, caption: str | None
) -> None:
    for name in ("1", "2"):
        (tmp_path / f"{name}.png").write_bytes(png(image()))
        (tmp_path / f"{name}.json").write_bytes(told)
    (tmp_path / "2.txt").write_text("a blue one")
    got = list(intake(source="folder", path=str(tmp_path)))
    assert [(s.caption, s.label) for s in got] == [(caption, None), ("a blue one", None)]


@pytest.mark.parametrize("told", [b"{", b'{"caption": 5}', b"[" * 100_000])
def test_folder_whose_json_cannot_be_read_is_named(tmp_path: Path, told: bytes) -> None:
    (tmp_path / "1.png").write_bytes(png(image()))
    (tmp_path / "1.json").write_bytes(told)
    with pytest.raises(DataError, match=r"1\.png cannot be used: its \.json "):
        list(intake(source="folder", path=str(tmp_path)))


def test_folder_that_is_a_url_is_refused_with_the_source_for_it() -> None:
    with pytest.raises(
        DataError, match=r"'http://192\.0\.2\.1/a' .* data\.source = \"webdataset\""
    ):
        intake(source="folder", path="http://192.0.2.1/a")


def test_folder_missing_or_mixed_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="does not exist"):
        intake(source="folder", path=str(tmp_path / "none"))
    (tmp_path / "a").mkdir()
    (tmp_path / "1.png").write_bytes(png(image()))
    with pytest.raises(DataError, match="both class folders and images"):
        intake(source="folder", path=str(tmp_path))


def test_folder_without_images_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="gives no samples"):
        _ = intake(source="folder", path=str(tmp_path)).shape


@pytest.mark.parametrize("content", [b"", b"not an image", png(image())[:50]])
def test_folder_unreadable_image_is_refused_by_name(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "1.png").write_bytes(png(image()))
    (tmp_path / "2.png").write_bytes(content)
    with pytest.raises(DataError, match=r"2\.png cannot be used: .*on_error"):
        list(intake(source="folder", path=str(tmp_path)))


NOWHERE = "it is a link that leads nowhere"


@pytest.mark.parametrize("leads_to", ["itself", "nowhere"])
@pytest.mark.parametrize("below", ["", "a/"])
def test_folder_link_that_leads_nowhere_is_counted_unless_it_led_to_no_image(
    tmp_path: Path, leads_to: str, below: str
) -> None:
    counted = [f"{below}{name}" for name in ("link", "link.png", "of-version-1.0")]
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "0.png").write_bytes(png(image()))
    for name in [*counted, f"{below}notes.md", f"{below}.link"]:
        link = tmp_path / name
        link.symlink_to(link if leads_to == "itself" else tmp_path / "gone")
    source = {"source": "folder", "path": str(tmp_path)}
    got = intake(**source, on_error="skip")
    assert [(sample.key, sample.label) for sample in got] == [("a/0.png", 0)]
    assert got.skipped == [Unreadable(str(tmp_path / name), NOWHERE) for name in counted]
    with pytest.raises(DataError, match="link cannot be used: it is a link that leads nowhere"):
        list(intake(**source))


def test_folder_whose_classes_are_all_links_that_lead_nowhere_is_refused(tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / name).symlink_to(tmp_path / "gone" / name)
    got = intake(source="folder", path=str(tmp_path), on_error="skip")
    with pytest.raises(DataError, match=f"2 were left out, as .*/a: {NOWHERE}"):
        _ = got.shape


def test_folder_caption_that_is_a_link_to_nowhere_is_no_missing_caption(tmp_path: Path) -> None:
    (tmp_path / "1.png").write_bytes(png(image()))
    (tmp_path / "1.txt").symlink_to(tmp_path / "gone")
    got = intake(source="folder", path=str(tmp_path), on_error="skip")
    assert list(got) == []
    assert names_of(got.skipped) == [str(tmp_path / "1.png")]
    assert "1.txt" in got.skipped[0].reason


def test_folder_unreadable_images_are_skipped_named_and_counted_once(tmp_path: Path) -> None:
    (tmp_path / "1.png").write_bytes(png(image()))
    (tmp_path / "2.png").write_bytes(b"")
    (tmp_path / "3.png").write_bytes(png(image())[:50])
    (tmp_path / "4.png").write_bytes(png(image()))
    (tmp_path / "4.txt").write_bytes(b"\xff\xfe\xff")
    got = intake(source="folder", path=str(tmp_path), on_error="skip")
    assert [s.key for s in got] == [s.key for s in got] == ["1.png"]
    assert names_of(got.skipped) == [str(tmp_path / f"{i}.png") for i in (2, 3, 4)]
    assert got.skipped[0].reason == "it is empty"


def test_folder_of_mixed_sizes_is_refused_until_a_size_is_set(tmp_path: Path) -> None:
    (tmp_path / "1.png").write_bytes(png(image(6, 6)))
    (tmp_path / "2.png").write_bytes(png(image(6, 9)))
    with pytest.raises(DataError, match=r"2\.png is 9x6 .* 1\.png is 6x6 .*set data\.size"):
        list(intake(source="folder", path=str(tmp_path)))
    sized = intake(source="folder", path=str(tmp_path), size=4)
    assert [s.image.shape for s in sized] == [(4, 4, 3)] * 2


def test_sample_whose_name_or_caption_is_no_text_is_named(tmp_path: Path) -> None:
    (tmp_path / os.fsdecode(b"a\xff.png")).write_bytes(png(image()))
    kept = intake(source="folder", path=str(tmp_path), on_error="skip")
    assert list(kept) == []
    assert kept.skipped == [Unreadable("a\\udcff.png", "its name is not UTF-8")]
    write_tar(tmp_path / "s.tar", {"a.png": png(image()), "a.json": b'{"caption": "\\ud800"}'})
    with pytest.raises(DataError, match=r"s\.tar/a cannot be used: its caption is not UTF-8"):
        list(intake(source="webdataset", path=str(tmp_path / "s.tar")))
