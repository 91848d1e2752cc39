import os
from pathlib import Path

from partition.sources.names import sorted_names

NAMES = ["b.png", "a", "a.png", "B.png", "z" * 200, "é.png", "日本.png", "10.png", "9.png", "ab"]


def test_names_come_in_the_order_of_paths_with_what_is_a_folder(tmp_path: Path) -> None:
    for name in NAMES:
        (tmp_path / name).touch() if "." in name else (tmp_path / name).mkdir()
    (tmp_path / ".hidden.png").touch()
    (tmp_path / "unwanted.md").touch()
    found = list(sorted_names(str(tmp_path), lambda entry: not entry.name.endswith(".md")))
    assert [name for name, _ in found] == [path.name for path in sorted(map(Path, NAMES))]
    assert {name for name, is_folder in found if is_folder} == {n for n in NAMES if "." not in n}


def test_names_that_are_no_text_come_back_as_they_are(tmp_path: Path) -> None:
    (tmp_path / os.fsdecode(b"\xff\xfe.png")).touch()
    ((name, is_folder),) = sorted_names(str(tmp_path), lambda _: True)
    assert (os.fsencode(name), is_folder) == (b"\xff\xfe.png", False)


def test_names_of_an_empty_folder_are_none(tmp_path: Path) -> None:
    assert list(sorted_names(str(tmp_path), lambda _: True)) == []
