"""Items and explanations come back as they were written, without pickles."""

import zipfile

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from xal.errors import RunError
from xal.store.artefacts import read_explanations, write_explanations, write_items
from xal.types import Explanations


def test_items_round_trip(tmp_path):
    table = pa.table({"id": ["a", "b"], "row": pa.array([4, 9], pa.int64()), "image": [b"\x00\xff", b""]})
    write_items(tmp_path / "items.parquet", table)
    assert pq.read_table(tmp_path / "items.parquet").equals(table)


def explanations():
    generator = np.random.default_rng(0)
    npir = generator.uniform(-1, 1, (3, 4))
    npir[1, 2:] = np.nan
    return Explanations(
        feature_kind="segments",
        segments=generator.integers(0, 2, (3, 6, 5)).astype(np.uint8),
        attributions=npir,
        interpretable_input=np.where(np.isnan(npir), np.nan, 1.0),
        npirp=-npir,
        explained_class=np.array([2, 0, 1]),
        probability=generator.uniform(size=3),
        per_item=True,
    )


def test_explanations_round_trip_bit_by_bit(tmp_path):
    ids, given = ["b/ü", "a", "日本 1"], explanations()
    write_explanations(tmp_path / "explanations.npz", ids, given)
    back_ids, back = read_explanations(tmp_path / "explanations.npz")
    assert back_ids == ids
    for name, value in vars(given).items():
        if not isinstance(value, np.ndarray):  # a tag of all items, or nothing
            assert getattr(back, name) == value and type(getattr(back, name)) is type(value)
            continue
        found = getattr(back, name)
        assert found.dtype == value.dtype, name
        np.testing.assert_array_equal(found, value, err_msg=name)


def test_explanations_of_xal_0_1_are_refused(tmp_path):
    """They do not say what their features are."""
    arrays = {name: value for name, value in vars(explanations()).items() if isinstance(value, np.ndarray)}
    np.savez(tmp_path / "old.npz", ids=["a", "b", "c"], own=np.ones(3, bool), **arrays)
    with pytest.raises(RunError, match=r"old\.npz was written by xal 0\.1"):
        read_explanations(tmp_path / "old.npz")


def test_explanations_hold_the_ids_and_the_arrays_alone(tmp_path):
    write_explanations(tmp_path / "explanations.npz", ["a", "b", "c"], explanations())
    with zipfile.ZipFile(tmp_path / "explanations.npz") as archive:
        assert set(archive.namelist()) == {
            f"{name}.npy" for name, value in [("ids", ""), *vars(explanations()).items()] if value is not None
        }


def test_explanations_hold_no_pickle(tmp_path):
    """A pickle would be an object array: none may be written, and a file that holds one is not read."""
    path = tmp_path / "explanations.npz"
    write_explanations(path, np.array(["a", "b", "c"], object), explanations())
    with zipfile.ZipFile(path) as archive:
        for name in archive.namelist():
            with archive.open(name) as member:
                np.lib.format.read_magic(member)
                _, _, dtype = np.lib.format.read_array_header_1_0(member)
                assert not dtype.hasobject, name
    arrays = vars(explanations()) | {"k": np.array([4, 2, 4], object)}
    np.savez(path, ids=np.array(["a", "b", "c"]), **arrays)
    with pytest.raises(RunError, match="pickle"):
        read_explanations(path)
