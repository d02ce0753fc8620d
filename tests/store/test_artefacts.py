"""Files of a run: whole under their final name or not there at all."""

import os
import signal
import subprocess
import sys
import zipfile

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from xal.errors import RunError
from xal.store.artefacts import read_explanations, write_explanations, write_items
from xal.store.atomic import locked, sweep, writing
from xal.types import Explanations


def everything(directory):
    return sorted(str(path.relative_to(directory)) for path in directory.rglob("*"))


def test_the_folder_appears_when_the_block_ends(tmp_path):
    with writing(tmp_path, "round-003/train") as folder:
        (folder / "deep").mkdir()
        (folder / "deep" / "file").write_text("weights")
        assert not (tmp_path / "round-003").exists()
    assert everything(tmp_path) == ["round-003", "round-003/train", "round-003/train/deep", "round-003/train/deep/file"]
    assert (tmp_path / "round-003/train/deep/file").read_text() == "weights"


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
def test_an_error_leaves_nothing(tmp_path, error):
    with pytest.raises(error), writing(tmp_path, "round-003/train") as folder:
        (folder / "file").write_text("half")
        raise error
    assert everything(tmp_path) == []


def test_an_error_leaves_what_was_there(tmp_path):
    with writing(tmp_path, "train") as folder:
        (folder / "file").write_text("whole")
    with pytest.raises(ValueError), writing(tmp_path, "train") as folder:  # noqa: PT011 - any error
        (folder / "file").write_text("half")
        raise ValueError
    assert everything(tmp_path) == ["train", "train/file"]
    assert (tmp_path / "train/file").read_text() == "whole"


def test_an_uncommitted_earlier_try_is_replaced_whole(tmp_path):
    (tmp_path / "train").mkdir()
    (tmp_path / "train" / "stale").write_text("old")
    with writing(tmp_path, "train") as folder:
        (folder / "fresh").write_text("new")
    assert everything(tmp_path) == ["train", "train/fresh"]


def test_files_and_their_names_are_synced_before_the_folder_appears(tmp_path, monkeypatch):
    """A power cut after the block may lose nothing: files, their folder, and every folder that got a new name in it."""
    synced = []
    monkeypatch.setattr(os, "fsync", lambda descriptor: synced.append(os.readlink(f"/proc/self/fd/{descriptor}")))
    with writing(tmp_path, "round-003/train") as folder:
        (folder / "file").write_text("weights")
    aside = str(folder)
    assert {f"{aside}/file", aside} <= set(synced)
    assert str(tmp_path / "round-003") in synced  # holds the name `train`
    assert str(tmp_path) in synced  # holds the name `round-003`


def test_sweep_removes_what_a_kill_left(tmp_path):
    program = (
        "import os, pathlib, signal, sys\n"
        "from xal.store.artefacts import writing\n"
        "with writing(pathlib.Path(sys.argv[1]), 'round-000/query') as folder:\n"
        "    (folder / 'file').write_text('half')\n"
        "    os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    ended = subprocess.run([sys.executable, "-c", program, str(tmp_path)], check=False)
    assert ended.returncode == -signal.SIGKILL
    (left,) = tmp_path.iterdir()
    assert (left / "file").read_text() == "half"
    (tmp_path / "round-001").mkdir()
    (tmp_path / "ledger.sqlite").write_text("")
    sweep(tmp_path)
    assert everything(tmp_path) == ["ledger.sqlite", "round-001"]


LOCKING = """
import pathlib, sys
from xal.errors import RunError
from xal.store.artefacts import locked
try:
    with locked(pathlib.Path(sys.argv[1])):
        print("locked", flush=True)
        sys.stdin.read()
except RunError as error:
    print("refused:", error)
"""


def another(directory):
    return subprocess.Popen(
        [sys.executable, "-c", LOCKING, str(directory)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )


def test_a_second_process_is_refused_until_the_first_ends(tmp_path):
    run = tmp_path / "run"
    with locked(run):
        refused, _ = another(run).communicate(timeout=60)
    assert refused.startswith(f"refused: {run} is in use")
    with another(run) as holder:
        assert holder.stdout.readline() == "locked\n"
        with pytest.raises(RunError, match="in use"), locked(run):
            pass
        holder.kill()  # the kernel frees the lock with the process
        holder.wait(60)
        with locked(run):
            pass


def test_items_round_trip(tmp_path):
    table = pa.table({"id": ["a", "b"], "row": pa.array([4, 9], pa.int64()), "image": [b"\x00\xff", b""]})
    write_items(tmp_path / "items.parquet", table)
    assert pq.read_table(tmp_path / "items.parquet").equals(table)


def explanations():
    generator = np.random.default_rng(0)
    npir = generator.uniform(-1, 1, (3, 4))
    npir[1, 2:] = np.nan
    return Explanations(
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
        if value is None:
            assert getattr(back, name) is None
            continue
        found = getattr(back, name)
        assert found.dtype == value.dtype, name
        np.testing.assert_array_equal(found, value, err_msg=name)


def test_explanations_of_older_files_are_of_each_images_own(tmp_path):
    """EBAnO's, as they were written when there were no superpixels, and when there was no other explainer."""
    given = explanations()
    arrays = {name: value for name, value in vars(given).items() if value is not None and name != "own"}
    np.savez(tmp_path / "one.npz", ids=["a", "b", "c"], **arrays)
    npir = {"npir": arrays.pop("attributions")}
    del arrays["interpretable_input"]
    np.savez(tmp_path / "two.npz", ids=["a", "b", "c"], **arrays, **npir)
    for name in ("one.npz", "two.npz"):
        _, back = read_explanations(tmp_path / name)
        for field, value in vars(given).items():
            np.testing.assert_array_equal(getattr(back, field), value, err_msg=field)


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
    with pytest.raises(ValueError, match="pickle"):
        read_explanations(path)
