"""The colors data: items of both rules or of none."""

from pathlib import Path

import numpy as np
import pyarrow.parquet as pq

from xal.datasets.colors import build_colors, colors, rules


def test_colors_are_of_both_rules_or_of_none(tmp_path: Path) -> None:
    images, positive = colors(600, seed=3)
    zero, one = rules(images)
    np.testing.assert_array_equal(zero, positive)
    np.testing.assert_array_equal(one, positive)
    assert len({image.tobytes() for image in images}) == 600 and positive.sum() == 300
    by_hand = [len({image[0], image[4], image[20], image[24]}) == 1 for image in images.tolist()]
    assert by_hand == zero.tolist()
    assert [len({*image[1:4]}) == 3 for image in images.tolist()] == one.tolist()
    np.testing.assert_array_equal(colors(900, seed=3)[0][:600], images)  # test items follow training items
    build_colors(tmp_path / "codes", items=40, rule=1, encoding="codes")
    build_colors(tmp_path / "onehot", items=40, rule=0, encoding="onehot", skip=40)
    codes = pq.read_table(tmp_path / "codes" / "part-00000.parquet").to_pylist()
    onehot = pq.read_table(tmp_path / "onehot" / "part-00000.parquet").to_pylist()
    assert all(row["relevant"] == [1, 2, 3] for row in codes)
    for row in onehot:
        values = np.array(row["features"])
        assert (
            values.sum() == 25 and values[row["relevant"]].all() and {r // 4 for r in row["relevant"]} == {0, 4, 20, 24}
        )
    assert not {row["id"] for row in codes} & {row["id"] for row in onehot}
