"""Some classes of an image folder, split over several pools: how ImageNet's subsets are made."""

from pathlib import Path

import numpy as np
import pytest

from tests.recipes import xal
from xal.data.build.builder import build
from xal.data.build.image_sources import Subset, read_classes
from xal.data.images import encode_png
from xal.data.pool import Pool
from xal.errors import DataError

PIPELINES = Path(__file__).parents[3] / "pipelines"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Six classes of ten images."""
    generator = np.random.default_rng(0)
    for name in range(6):
        (tmp_path / "images" / f"n{name:03d}").mkdir(parents=True)
        for number in range(10):
            pixels = generator.integers(0, 256, (1, 8, 8)).astype(np.uint8)
            (tmp_path / "images" / f"n{name:03d}" / f"{number}.png").write_bytes(encode_png(pixels))
    return tmp_path / "images"


def ids(path: Path) -> list[str]:
    pool = Pool.open(path)
    return pool.read(np.arange(len(pool)), ["id"])["id"].to_pylist()


def test_pools_of_the_same_classes_share_no_image(folder: Path, tmp_path: Path) -> None:
    chosen = ("n001", "4")
    build(folder, tmp_path / "pool", subset=Subset(classes=chosen, per_class=7))
    build(folder, tmp_path / "test", subset=Subset(classes=chosen, per_class=3, skip=7))
    one, other = ids(tmp_path / "pool"), ids(tmp_path / "test")
    assert len(one) == 14 and len(other) == 6
    assert set(one).isdisjoint(other) and len(set(one) | set(other)) == 20
    assert Pool.open(tmp_path / "pool").classes == ("n001", "n004")
    assert sorted(one) != [f"n{name:03d}/{number}.png" for name in (1, 4) for number in range(7)]  # not the first ones


def test_by_the_command_line_with_a_class_list(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "some.classes").write_text("# two of six\n0, n005  # by position, by name\n")
    options = ["--classes", tmp_path / "some.classes", "--per-class", 2]
    assert xal("pool", "build", folder, tmp_path / "pool", *options, monkeypatch=monkeypatch) == 0
    assert Pool.open(tmp_path / "pool").classes == ("n000", "n005") and len(ids(tmp_path / "pool")) == 4


def test_mistakes_are_named(folder: Path, tmp_path: Path) -> None:
    for subset, problem in [
        (Subset(classes=("n01",)), "no class folder 'n01' among 6; did you mean 'n001'"),
        (Subset(classes=("6",)), "no class folder '6' among 6"),
        (Subset(per_class=11), "6 classes have too few images, first 'n000': 10 of 11"),
        (Subset(skip=10), "6 classes have too few images, first 'n000': 10 of 11"),
    ]:
        with pytest.raises(DataError, match=problem):
            build(folder, tmp_path / "pool", subset=subset)
    (tmp_path / "text.jsonl").write_text('{"id": "a", "text": "b"}\n')
    with pytest.raises(DataError, match="classes can be chosen from a folder"):
        build(tmp_path / "text.jsonl", tmp_path / "pool", subset=Subset(per_class=1))
    for text, problem in [("# nothing\n", "got 0"), ("1, 2, 1", "got 3 entries, 2 distinct")]:
        (tmp_path / "list").write_text(text)
        with pytest.raises(DataError, match=problem):
            read_classes(tmp_path / "list")
    with pytest.raises(DataError, match="cannot be read"):
        read_classes(tmp_path / "absent")


def test_the_thesis_subsets_do_not_overlap() -> None:
    """Thesis, section 4.1 and appendix A (whose ImageNet-25 prints ten classes; the rest are ours)."""
    lists = {number: read_classes(PIPELINES / f"imagenet-{number}.classes") for number in (25, 100, 250)}
    assert {number: len(found) for number, found in lists.items()} == {25: 25, 100: 100, 250: 250}
    everything = [int(each) for found in lists.values() for each in found]
    assert len(set(everything)) == 375 and min(everything) >= 0 and max(everything) < 1000
    assert lists[25][:10] == ("0", "217", "482", "491", "497", "566", "569", "571", "574", "701")


def made(folder: Path, *names: str) -> Path:
    generator = np.random.default_rng(1)
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(encode_png(generator.integers(0, 256, (1, 8, 8)).astype(np.uint8)))
    return folder


@pytest.mark.parametrize(
    ("names", "classes"),
    [
        (["cat/2020/a.png", "dog/2021/b.png"], ("cat", "dog")),
        (["n01/images/a.JPEG", "n02/images/b.JPEG"], ("n01", "n02")),
        (["train/cat/a.png", "train/dog/b.png"], ("cat", "dog")),
        (["0/a.png", "1/b.png", "9/c.png"], ("0", "1", "9")),
        (["2020/a.png", "2021-05/b.png"], ()),
        (["images/a.png", "images/b.png"], ()),
        (["a.png", "b.png"], ()),
    ],
)
def test_classes_are_the_first_folders_that_tell_images_apart(
    tmp_path: Path, names: list[str], classes: tuple[str, ...]
) -> None:
    build(made(tmp_path / "photos", *names), tmp_path / "pool")
    pool = Pool.open(tmp_path / "pool")
    assert pool.classes == classes and pool.has_labels == bool(classes)


def test_splits_are_no_classes(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="test, train are splits of a data set"):
        build(made(tmp_path / "photos", "train/cat/a.png", "test/cat/b.png"), tmp_path / "pool")


def test_a_table_of_labels_beside_the_images_joins_them(tmp_path: Path) -> None:
    folder = made(tmp_path / "photos", "images/a.png", "images/b.png", "images/c.png")
    (folder / "labels.csv").write_text("file,label\na.png,x\nb,y\ngone.png,x\n")
    report = build(folder, tmp_path / "pool")
    assert "labels from labels.csv: 2 of 3 images; 1 lines name no image" in report.notes
    pool = Pool.open(tmp_path / "pool")
    assert pool.read_span(0, 3, ["label"])["label"].to_pylist() == ["x", "y", None]
    (tmp_path / "other.csv").write_text("name,kind\nimages/c.png,z\n")
    build(folder, tmp_path / "named", labels_file=tmp_path / "other.csv", label_column="kind")
    assert Pool.open(tmp_path / "named").classes == ("z",)


def test_files_of_any_suffix_are_read_or_counted_and_links_are_said(tmp_path: Path) -> None:
    folder = made(tmp_path / "photos", "cat/a.jfif", "cat/noext", "dog/b.PNG")
    (folder / "dog" / "y.heic").write_bytes(b"0" * 50)
    (folder / "dog" / "notes").write_text("no image")
    (folder / "dog" / "x.doc").write_text("no image")
    made(tmp_path / "outside", "other.png", "same.png", "b.png", "c.png")  # the first three are those of photos/
    (folder / "linked").symlink_to(tmp_path / "outside")
    (folder / "linked" / "again").symlink_to(folder)  # a loop
    report = build(folder, tmp_path / "pool")
    assert report.written == 4 and [name for name, _ in report.unreadable] == ["dog/y.heic"]
    assert len(report.duplicates) == 3
    assert "2 files were passed over, which are no images: .doc 1, without suffix 1" in report.notes
    assert any("were reached through symbolic links" in note for note in report.notes)
