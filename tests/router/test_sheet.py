"""A contact sheet shows every image, enlarged where it is small."""

import numpy as np
import pytest

from router.sheet import contact_sheet


@pytest.mark.parametrize("channels", [1, 3])
def test_sheet_holds_the_images_row_by_row(channels):
    images = np.random.default_rng(0).integers(0, 256, (5, 24, 30, channels), np.uint8)

    sheet = contact_sheet(images)

    assert sheet.shape == (4 + 2 * 52, 4 + 3 * 64, channels)
    assert np.array_equal(sheet[4:52:2, 4:64:2], images[0])
    assert np.array_equal(sheet[56:104:2, 68:128:2], images[4])
    assert (sheet[56:104, 132:192] == 255).all()
