import pytest

from atoll.layout import checkpoint_folder, is_checkpoint_folder

OWN = checkpoint_folder("expert-0", 3, 40)


@pytest.mark.parametrize("key", [OWN, f"{OWN}.1", checkpoint_folder("expert-0", 3, 40, 12)])
def test_folder_of_a_checkpoint_is_its_own_however_often_the_trainer_was_started_anew(key):
    assert is_checkpoint_folder(key, "expert-0", 3, 40)


@pytest.mark.parametrize(
    "key",
    [
        "",
        ".5",
        f"{OWN}.0",
        f"{OWN}.1/..",
        f"{OWN}/",
        f"x/{OWN}",
        checkpoint_folder("expert-0", 2, 40),
    ],
)
def test_folder_elsewhere_is_not_that_of_the_checkpoint(key):
    assert not is_checkpoint_folder(key, "expert-0", 3, 40)
