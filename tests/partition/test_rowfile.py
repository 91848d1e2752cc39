from pathlib import Path

import numpy as np

from partition.rowfile import RowFile


def test_rows_come_back_in_order_and_by_index(tmp_path: Path) -> None:
    matrix = np.arange(70.0, dtype=np.float32).reshape(10, 7)
    rows = RowFile(tmp_path / "rows", 7)
    rows.append(matrix[:4])
    rows.append(matrix[4:])
    assert len(rows) == 10
    assert np.array_equal(np.concatenate(list(rows.chunks())), matrix)
    indices = np.array([9, 0, 4, 4])
    assert np.array_equal(rows.take(indices), matrix[indices])
